from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.config import Config
from engine.errors import ConfigError
from engine.segments.definition import Definition
from engine.segments.definitions import DEFINITIONS_SCHEMA, definitions, definitions_table


def config(**sections: Any) -> Config:
    columns = {"user_id": "u", "event_type": "e", "event_time": "t"}
    source = {"name": "log", "path": "log.parquet", "columns": columns}
    return Config.model_validate({"sources": [source], "segment_fallback": "all others", **sections})


def segment(name: str, where: str = "a > 1", **keys: Any) -> dict[str, Any]:
    return {"name": name, "where": where, **keys}


def version(**keys: Any) -> str:
    return definitions(config(segments=[segment("x", **keys)]))[0].version


def test_every_kind_in_its_order(tmp_path: Path) -> None:
    file = tmp_path / "vip.txt"
    file.write_text("1\n")
    made = definitions(
        config(
            events={"purchase": "order"},
            segments=[
                segment("e\u0301lite", priority=3, campaigns=["spring"], labels={"fr": "Élite"}, cost=2.5),
                {"name": "VIP", "list": str(file), "frozen_on": "2026-01-10", "expires_on": "2026-02-01", "tag": True},
                segment("inactive for 30 days", group="activity_level", description="No event."),
            ],
            lifecycle=[{"preset": "buyer"}],
            experiments=[{"name": "spring", "arms": {"control": 1, "offer": 3}, "key": "k", "where": "a > 0"}],
        )
    )
    assert [(one.name, one.kind, one.group) for one in made] == [
        ("élite", "rule", "primary"),
        ("VIP", "list", None),
        ("inactive for 30 days", "rule", "activity_level"),
        *((name, "lifecycle", "buyer") for name in ("never_bought", "inactive_buyer", "regular_buyer")),
        ("occasional_buyer", "lifecycle", "buyer"),
        ("spring_control", "arm", None),
        ("spring_offer", "arm", None),
        ("all others", "fallback", "primary"),
    ]
    first, vip, offer = made[0], made[1], made[-2]
    assert (first.priority, first.campaigns, first.labels, first.cost) == (3, ("spring",), (("fr", "Élite"),), 2.5)
    assert vip.list is not None
    assert (vip.list.frozen_on, vip.list.expires_on) == (date(2026, 1, 10), date(2026, 2, 1))
    assert vip.list.refuse_unknown
    assert offer.arm is not None
    assert (offer.arm.low, offer.arm.high, offer.where) == (2**30, 2**32, "a > 0")
    assert all(len(one.version) == 8 and int(one.version, 16) >= 0 for one in made)
    assert len({one.version for one in made}) == len(made)


def test_users_fall_back_to_the_rfm_map() -> None:
    made = definitions(config(segment_fallback="rfm"))
    assert {one.kind for one in made} == {"fallback"}
    assert [one.name for one in made][-1] == "no_purchase"
    assert dict(made[0].labels)["fr"] == "Sur le point de s'endormir"
    other = definitions(config(segment_fallback="rfm", rfm={"recency": "rank"}))
    assert made[0].version != other[0].version


def test_own_labels_stand_before_the_usual_ones() -> None:
    made = definitions(config(segments=[segment("vip", labels={"fr": "Les meilleurs", "de": "Die Besten"})]))
    assert made[0].labels == (("de", "Die Besten"), ("en", "VIP"), ("fr", "Les meilleurs"))


@pytest.mark.parametrize(
    "where",
    [
        "region = 'Île-de-France' AND score > 70",
        "region='Île-de-France'\n  and score   >70 -- the best",
        "region = 'I\u0302le-de-France' aNd score > 70",
    ],
)
def test_spelling_of_a_rule_does_not_change_its_version(where: str) -> None:
    assert version(where=where) == "8079440a"


def test_whatever_decides_who_is_in_it_changes_the_version(tmp_path: Path) -> None:
    files = [tmp_path / "a.txt", tmp_path / "b.txt", tmp_path / "c.txt"]
    for file, text in zip(files, ("1\n", "2\n", "1\n"), strict=True):
        file.write_text(text)

    def listed(file: Path, frozen_on: str = "2026-01-10", **keys: Any) -> str:
        entry = {"name": "x", "list": str(file), "frozen_on": frozen_on, **keys}
        return definitions(config(segments=[entry]))[0].version

    def arm(weight: float, key: str, **keys: Any) -> str:
        entry = {"name": "t", "arms": {"a": 1, "b": weight}, "key": key, **keys}
        return definitions(config(experiments=[entry]))[0].version

    versions = [
        version(),
        version(where="a > 2"),
        version(where="a > 1 AND name = 'a  b'"),
        version(where="a > 1 AND name = 'a b'"),
        version(where="A > 1"),
        version(group="other"),
        version(tag=True),
        version(priority=1),
        listed(files[0]),
        listed(files[1]),
        listed(files[0], "2026-01-11"),
        listed(files[0], expires_on="2026-03-01"),
        arm(1, "k"),
        arm(2, "k"),
        arm(1, "l"),
        arm(1, "k", where="a > 1"),
    ]
    assert len(set(versions)) == len(versions)
    assert listed(files[0]) == listed(files[2])
    assert version(labels={"fr": "X"}, campaigns=["c"], description="d", cost=1) == version()


def test_all_problems_of_names_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        definitions(
            config(
                segments=[
                    segment("never_bought"),
                    segment("NO_PURCHASE", tag=True),
                    segment("t_A", group="g"),
                    segment("  "),
                    segment("x" * 60 + "é" * 140),
                    segment("__HIVE_DEFAULT_PARTITION__"),
                    segment("nul\0", tag=True),
                ],
                events={"purchase": "order"},
                segment_fallback="rfm",
                lifecycle=[{"preset": "buyer"}],
                experiments=[{"name": "t", "arms": {"a": 1, "b": 1}, "key": "k"}],
            )
        )
    assert caught.value.code == "segment-names"
    lines = caught.value.message.splitlines()[1:]
    for line, expected in zip(
        lines,
        [
            "'  ' would be read as no name at all",
            "the folder name takes",
            "is the mark that hive partitions use for null",
            "holds a NUL character",
            "'never_bought' (a stage of the lifecycle preset 'buyer') is also an entry of [[segments]]",
            "'t_a' (an arm of the experiment 't') is also an entry of [[segments]], spelt 't_A'",
            "'no_purchase' (one that users fall back to) is also an entry of [[segments]], spelt 'NO_PURCHASE'",
        ],
        strict=True,
    ):
        assert expected in line


@pytest.mark.parametrize(
    "names",
    [
        ("été", "e\u0301te\u0301"),
        ("VIP", "vip"),
        ("straße", "STRASSE"),
        ("x", "x"),
        ("Très engagé", "tres engage"),
    ],
)
def test_names_that_differ_in_case_accents_or_form_alone_are_refused(names: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match="is also"):
        definitions(config(segment_fallback=names[0], segments=[segment(names[1], tag=True)]))


def test_letters_of_other_scripts_stay_apart() -> None:
    assert len(definitions(config(segment_fallback="か", segments=[segment("が")]))) == 2


@pytest.mark.parametrize("name", ["../../etc/passwd", "'; DROP TABLE users; --", "a/b\\c", "{x!r}", "%2e%2e", "été 🙂"])
def test_any_text_is_a_name(name: str) -> None:
    assert definitions(config(segments=[segment(name)]))[0].name == name


def test_lists_that_are_gone_are_told_at_once(tmp_path: Path) -> None:
    entries = [{"name": name, "list": str(tmp_path / name), "frozen_on": "2026-01-10"} for name in ("a", "b")]
    with pytest.raises(ConfigError, match=r"(?s)'a': cannot read.*'b': cannot read") as caught:
        definitions(config(segments=entries))
    assert caught.value.code == "segment-list"


def test_the_published_table(tmp_path: Path) -> None:
    file = tmp_path / "vip.txt"
    file.write_text("1\n")
    entries = [
        segment("vip of b", "in_segment('VIP') AND b", campaigns=["x", "a, b"], priority=2, labels={"fr": "V"}),
        {"name": "VIP", "list": str(file), "frozen_on": "2026-01-10", "tag": True},
    ]
    made = definitions(config(segments=entries))
    table = definitions_table(made, {"vip of b": {"VIP"}})
    assert dict(table.schema) == dict(DEFINITIONS_SCHEMA)
    assert table["segment"].to_list() == ["VIP", "all others", "vip of b"]
    assert table.row(0, named=True) == {
        "segment": "VIP",
        "group": None,
        "kind": "list",
        "rule": None,
        "rule_version": made[1].version,
        "label_en": None,
        "label_fr": None,
        "description": "",
        "campaigns": [],
        "priority": 0,
        "frozen_on": date(2026, 1, 10),
        "expires_on": None,
        "depends_on": [],
        "position": 1,
    }
    last = table.row(2, named=True)
    assert (last["campaigns"], last["depends_on"], last["label_fr"]) == (["x", "a, b"], ["VIP"], "V")
    assert definitions_table([], {}).schema == pl.Schema(DEFINITIONS_SCHEMA)


def test_a_thousand_segments_are_made() -> None:
    made = definitions(config(segments=[segment(f"s {number}", f"a > {number}") for number in range(1000)]))
    assert len(made) == 1001
    assert len({one.version for one in made}) == 1001
    assert isinstance(made[0], Definition)
