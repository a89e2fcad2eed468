from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.config import Config
from engine.config_contacts import Duplicates
from engine.contacts.duplicates.decisions import Act, pair_of, read_decisions
from engine.contacts.duplicates.judging import automatic_merges, duplicate_share, with_decisions
from engine.contacts.duplicates.run import decide, decided_pairs, find_duplicates, pairs_among
from engine.contacts.duplicates.table import Asked, pairs_files, read_pairs_file
from engine.errors import ConfigError

ON = date(2026, 3, 5)
PEOPLE = [
    (1, "a@x.org", "Jean", "Dupont"),
    (2, "A@x.org", "Jeanne", "Dupont"),
    (3, "c@x.org", "Jean", "Dupond"),
    (4, None, "Zoé", "Durand"),
    (5, None, "Zoe", "Durand"),
    (6, "f@x.org", "Paul", "Martin"),
]


def config_of(folder: Path, duplicates: dict[str, Any] | None = None, **fields: Any) -> Config:
    pl.DataFrame(PEOPLE, ["id", "email", "first", "last"], orient="row").write_parquet(folder / "contacts.parquet")
    section = {"exact": ["email"], "compare": {"first": 1, "last": 2}, "block": ["soundex(last)"], **(duplicates or {})}
    columns = {"user_id": "u", "event_type": {"value": "buy"}, "event_time": "t"}
    return Config.model_validate(
        {
            "out": str(folder / "out"),
            "sources": [{"name": "s", "path": str(folder / "events"), "columns": columns}],
            "contacts": {"path": str(folder / "contacts.parquet"), "user_id": "id", "duplicates": section},
            **fields,
        }
    )


def say(config: Config, kind: Any, *ids: str, **more: Any) -> dict[str, int]:
    return decide(config, [Asked(pair, kind) for pair in pairs_among(ids)], on=ON, **more).counts


def words(config: Config) -> dict[tuple[str, str], str]:
    rows = pl.read_parquet(pairs_files(Path(config.out))[0]).select("user_id", "other_id", "decision").rows()
    return {(one, other): word for one, other, word in rows}


def test_dq03_pairs_are_written_for_review_and_merged_above_a_threshold(tmp_path: Path) -> None:
    config = config_of(tmp_path, {"review": 0.8, "merge": 0.99, "merge_exact": True})
    found = find_duplicates(config, None, on=ON)
    assert (found.contacts, found.pairs, found.merged, found.unasked) == (6, {"exact": 1, "fuzzy": 3}, 0, 2)
    assert (found.duplicates, found.surplus, round(found.rate, 4)) == (5, 3, 0.8333)
    parquet, text = pairs_files(Path(config.out))
    assert found.files == (parquet, text)
    assert {path.stat().st_mode & 0o777 for path in found.files} == {0o600}
    table = pl.read_parquet(parquet)
    assert table.columns == [
        "user_id",
        "other_id",
        "kind",
        "key",
        "group_size",
        "score",
        "compared",
        "similarity_first",
        "similarity_last",
        "decision",
    ]
    assert pl.read_csv(text)["user_id"].to_list() == [1, 1, 2, 4]
    assert read_decisions(Path(config.out)) == ()

    again = find_duplicates(config, None, on=ON, apply=True)
    assert (again.merged, again.unasked) == (2, 0)
    assert [(act.pair, act.by) for act in read_decisions(Path(config.out))] == [
        (("1", "2"), "exact"),
        (("4", "5"), "score"),
    ]
    assert words(config) == {("1", "2"): "merged", ("1", "3"): "review", ("2", "3"): "review", ("4", "5"): "merged"}
    assert find_duplicates(config, None, on=ON, apply=True).merged == 0

    # Who was parted by a person stays so.
    assert say(config, "undo", "4", "5")["undone"] == 1
    assert say(config, "refuse", "3", "1")["refused"] == 1
    assert say(config, "merge", "2", "1") == {"merged": 1, "undone": 0, "refused": 0, "unchanged": 0}
    last = find_duplicates(config, None, on=ON, apply=True)
    assert last.merged == 0
    assert words(config) == {("1", "2"): "confirmed", ("1", "3"): "refused", ("2", "3"): "review", ("4", "5"): "undone"}
    assert parquet.read_bytes() == _again(config, parquet)


def _again(config: Config, path: Path) -> bytes:
    find_duplicates(config, None, on=date(2026, 9, 9))
    return path.read_bytes()


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    config = config_of(tmp_path, {"merge_exact": True})
    found = find_duplicates(config, None, on=ON, apply=True, dry_run=True)
    assert (found.merged, found.files, found.decisions["merged"]) == (1, (), 1)
    assert say(config, "merge", "1", "2", dry_run=True)["merged"] == 1
    assert not (tmp_path / "out").exists()


def test_decisions_and_their_repetition(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    assert say(config, "merge", "3", "1", "2") == {"merged": 2, "undone": 0, "refused": 0, "unchanged": 0}
    assert say(config, "merge", "2", "1") == {"merged": 0, "undone": 0, "refused": 0, "unchanged": 1}
    assert decided_pairs(config).rows() == [
        ("1", "2", "confirmed", ON, "person", "1"),
        ("1", "3", "confirmed", ON, "person", "1"),
    ]
    assert say(config, "undo", "1", "2")["undone"] == 1
    assert say(config, "undo", "1", "2")["unchanged"] == 1
    assert decided_pairs(config)["stays"].to_list() == [None, "1"]


def test_ids_that_nobody_has_and_pairs_that_are_not_merged_are_refused(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    with pytest.raises(ConfigError) as unknown:
        say(config, "merge", "1", "77", "78")
    assert (unknown.value.code, unknown.value.message) == ("duplicates-unknown", "2 of 3 ids are those of no contact")
    say(config, "merge", "1", "2", "3")
    with pytest.raises(ConfigError) as loose:
        say(config, "undo", "2", "3")
    assert loose.value.code == "duplicates-not-merged"
    with pytest.raises(ConfigError) as single:
        say(config, "merge", "1", " 1 ")
    assert single.value.code == "duplicates-pairs"
    assert len(read_decisions(Path(config.out))) == 2


def test_without_contacts_there_is_nothing_to_do(tmp_path: Path) -> None:
    config = config_of(tmp_path).model_copy(update={"contacts": None})
    for call in (
        lambda: find_duplicates(config, None, on=ON),
        lambda: say(config, "merge", "1", "2"),
        lambda: decided_pairs(config),
    ):
        with pytest.raises(ConfigError) as raised:
            call()
        assert raised.value.code == "duplicates-no-contacts"


def test_the_edited_table_is_given_back(tmp_path: Path) -> None:
    config = config_of(tmp_path, {"review": 0.8})
    find_duplicates(config, None, on=ON)
    _, text = pairs_files(Path(config.out))
    edited = pl.read_csv(text, infer_schema=False).with_columns(
        decision=pl.Series(["confirmed", "refuse", "review", "Merge "])
    )
    file = tmp_path / "edited.csv"
    file.write_text("\ufeff" + edited.write_csv(separator=";"), encoding="utf-8")
    counts = decide(config, read_pairs_file(file, "merge"), on=ON).counts
    assert counts == {"merged": 2, "undone": 0, "refused": 1, "unchanged": 1}
    again = edited.with_columns(decision=pl.Series(["undo", "refused", "", "merged"]))
    again.write_parquet(tmp_path / "again.parquet")
    counts = decide(config, read_pairs_file(tmp_path / "again.parquet", "merge"), on=ON).counts
    assert counts == {"merged": 0, "undone": 1, "refused": 0, "unchanged": 3}


def test_what_others_have_merged_is_not_decided_by_giving_the_table_back(tmp_path: Path) -> None:
    config = config_of(tmp_path, {"review": 0.8})
    say(config, "merge", "1", "2", "3")
    find_duplicates(config, None, on=ON)
    assert words(config)["2", "3"] == "merged"
    _, text = pairs_files(Path(config.out))
    parted = pl.col("user_id").eq("1") & pl.col("other_id").eq("3")
    edited = pl.read_csv(text, infer_schema=False).with_columns(
        decision=pl.when(parted).then(pl.lit("undo")).otherwise("decision")
    )
    edited.write_csv(tmp_path / "edited.csv")
    counts = decide(config, read_pairs_file(tmp_path / "edited.csv", "merge"), on=ON).counts
    assert (counts["merged"], counts["undone"]) == (0, 1)
    assert decided_pairs(config).select("user_id", "other_id", "stays").rows() == [("1", "2", "1"), ("1", "3", None)]


@pytest.mark.parametrize(
    ("word", "first", "then", "left"),
    [
        ("merged", "merge", "undo", "undone"),
        ("confirmed", "merge", "undo", "undone"),
        ("merged", "merge", "refuse", "refused"),
        ("undone", "undo", "merge", "confirmed"),
        ("refused", "refuse", "merge", "confirmed"),
    ],
)
def test_what_is_decided_since_is_newer_than_a_file(
    tmp_path: Path, word: str, first: str, then: str, left: str
) -> None:
    config = config_of(tmp_path)
    say(config, "merge", "1", "2")
    for kind in (first, then):
        say(config, kind, "1", "2")
    file = tmp_path / "pairs.csv"
    file.write_text(f"user_id,other_id,decision\n1,2,{word}\n", encoding="utf-8")
    before = read_decisions(Path(config.out))
    done = decide(config, read_pairs_file(file, "merge"), on=ON)
    assert (done.outdated, done.counts) == (1, {"merged": 0, "undone": 0, "refused": 0, "unchanged": 1})
    assert read_decisions(Path(config.out)) == before
    assert decided_pairs(config)["decision"].to_list() == [left]
    # What is asked for again is done.
    file.write_text(f"user_id,other_id,decision\n1,2,{first}\n", encoding="utf-8")
    again = decide(config, read_pairs_file(file, "merge"), on=ON)
    assert (again.outdated, again.counts["unchanged"]) == (0, 0)


@pytest.mark.parametrize(
    ("content", "code", "told"),
    [
        ("user_id,other\n1,2\n", "duplicates-pairs-file", "no column 'other_id'"),
        ("x\n", "duplicates-pairs-file", "no column 'user_id' and no column 'other_id'"),
        ("user_id,other_id\n1,1\n2,\n3,4\n", "duplicates-pairs", "2 rows are no decision about two ids: rows 1, 2"),
        ("user_id,other_id,decision\n1,2,maybe\n", "duplicates-pairs", "rows 1"),
        ("user_id,other_id\n1,2,3\n", "duplicates-pairs-file", "no table"),
        (b"user_id,other_id\n\xff\xfe,2\n", "duplicates-pairs-file", "no table"),
        (None, "duplicates-pairs-file", "No such file"),
    ],
)
def test_files_of_pairs_that_cannot_be_used(tmp_path: Path, content: str | bytes | None, code: str, told: str) -> None:
    file = tmp_path / "pairs.csv"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as raised:
        read_pairs_file(file, "merge")
    assert raised.value.code == code
    assert told in raised.value.message


def test_a_file_without_decisions_asks_the_same_of_every_pair(tmp_path: Path) -> None:
    file = tmp_path / "p.tsv"
    file.write_text("other_id\tmore\tuser_id\n10\tx\t9\n")
    assert read_pairs_file(file, "undo") == [Asked(("9", "10"), "undo")]


def found(*rows: tuple[str, str, str, int | None, float | None]) -> pl.DataFrame:
    schema = {
        "user_id": pl.String,
        "other_id": pl.String,
        "kind": pl.String,
        "group_size": pl.UInt32,
        "score": pl.Float64,
    }
    return pl.DataFrame(rows, schema, orient="row")


def test_what_is_merged_without_asking() -> None:
    table = found(
        ("1", "2", "fuzzy", None, 0.95),
        ("1", "3", "exact", 2, None),
        ("2", "3", "fuzzy", None, 0.99),
        ("4", "5", "exact", 3, 0.2),
        ("4", "6", "fuzzy", None, 0.94),
        ("7", "8", "exact", 4, None),
    )
    settings = Duplicates(exact=("e",), compare={"x": 1}, block=("x",), merge=0.95, merge_exact=True, largest_group=3)
    acts = automatic_merges(table, settings, {}, ON)
    # 1 and 2 are one already by way of 3; 7 and 8 share what too many share.
    assert [(act.pair, act.by) for act in acts] == [(("4", "5"), "exact"), (("1", "3"), "exact"), (("2", "3"), "score")]
    refused = {("1", "2"): Act("refuse", ("1", "2"), ON)}
    assert [act.pair for act in automatic_merges(table, settings, refused, ON)] == [("4", "5"), ("1", "3")]
    merged = {("5", "9"): Act("merge", ("5", "9"), ON), ("4", "9"): Act("undo", ("4", "9"), ON)}
    assert [act.pair for act in automatic_merges(table, settings, merged, ON)] == [("1", "3"), ("2", "3")]
    shy = settings.model_copy(update={"merge": None, "merge_exact": False})
    assert automatic_merges(table, shy, {}, ON) == []


def test_pairs_of_one_person_by_way_of_others_are_merged() -> None:
    acts = {pair: Act("merge", pair, ON, "score") for pair in (pair_of("1", "2"), pair_of("2", "3"))}
    table = with_decisions(found(("1", "3", "fuzzy", None, 0.9), ("1", "4", "fuzzy", None, 0.9)), acts)
    assert table["decision"].to_list() == ["merged", "review"]


def test_dq09_the_share_of_duplicates() -> None:
    rows = [
        ("1", "2", None, "review"),
        ("2", "3", 2, "merged"),
        ("4", "5", 99, "review"),
        ("6", "7", 2, "undone"),
        ("8", "9", 99, "confirmed"),
    ]
    schema = {"user_id": pl.String, "other_id": pl.String, "group_size": pl.UInt32, "decision": pl.String}
    table = pl.DataFrame(rows, schema, orient="row")
    assert duplicate_share(table, 20, 10) == (5, 3)
    assert duplicate_share(table.clear(), 0, 10) == (0, 0)
