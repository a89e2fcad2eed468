from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.config_file import config_hash
from engine.errors import ConfigError, IntegrityError
from engine.stages.input import input_fingerprint
from engine.stages.opening import check_names, check_unchanged, open_run
from tests.samples import TOML, configuration, mail, shop, write_files, write_sample


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_sample(tmp_path, users=5)


def test_what_a_run_starts_from(file: Path) -> None:
    config = configuration(file)
    opened = open_run(config)
    assert opened.config == config
    assert {name: str(dtype) for name, dtype in opened.contacts.items()} == {"region": "String"}
    assert opened.given.rows(config) == shop(5).height + mail(5).height
    assert opened.fingerprints == {"config": config_hash(config), "input": input_fingerprint(config, opened.given)}
    assert sorted(path.relative_to(file.parent).as_posix() for path in opened.stamps) == [
        "contacts.parquet",
        "mail/000.parquet",
        "shop/000.parquet",
    ]


def test_the_output_folder_becomes_absolute(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    opened = open_run(configuration(file).model_copy(update={"out": "tables"}))
    assert opened.config.out == str(file.parent / "tables")


@pytest.mark.parametrize("out", ["s3://bucket/tables", "gs://bucket", "/data/s3:/bucket"])
def test_an_object_store_is_no_output_folder(file: Path, out: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_run(configuration(file).model_copy(update={"out": out}))
    assert caught.value.code == "out-remote"


# ---------------------------------------------------------------------------------------- conditions and mapped columns


@pytest.mark.parametrize(
    ("where", "column"),
    [
        ("channel = 'web'", "channel"),
        ("amount >= 20 AND quantity > 1", "quantity"),
        ("category IS NULL", "category"),
    ],
)
def test_a_condition_over_a_column_that_no_source_maps_is_refused(where: str, column: str, file: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        check_names(configuration(file, targets__buys__where=where))
    assert caught.value.code == "target-where"
    assert f"targets.buys.where: '{column}' is mapped by no source" in caught.value.message
    assert where in caught.value.message
    assert "'amount'" not in caught.value.message


def test_all_conditions_are_named_at_once(file: Path) -> None:
    text = TOML + '\n[[targets]]\nname = "opens"\nevent = "email_open"\nwhere = "campaign_id = \'7\'"\n'
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        check_names(configuration(file, targets__buys__where="item_id = 'a'"))
    assert "targets.buys.where: 'item_id'" in caught.value.message
    assert "targets.opens.where: 'campaign_id'" in caught.value.message


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"sources__shop__columns__channel": "shop"}, False),
        ({"sources__shop__columns__channel": {"value": "web"}}, False),
        # The events of the other source have another type, and it is always the same one.
        ({"sources__mail__columns__channel": "kind", "sources__mail__columns__event_type": {"value": "sent"}}, True),
        ({"sources__mail__columns__channel": "kind"}, False),
        # No source has the event: its name is wrong, and that is told with the names there are.
        (
            {
                "targets__buys__event": "bought",
                "sources__mail__columns__event_type": {"value": "sent"},
            },
            False,
        ),
    ],
)
def test_the_column_has_to_be_mapped_where_the_event_is(changes: dict[str, object], refused: bool, file: Path) -> None:
    config = configuration(file, targets__buys__where="channel = 'web'", **changes)
    if not refused:
        assert check_names(config).keys() == {"region"}
        return
    with pytest.raises(ConfigError, match="'purchase' events"):
        check_names(config)


# ---------------------------------------------------------------------------------------------- input that is exchanged


def grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def touch(path: Path) -> None:
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def replace_in_kind(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(0, 0))
    other.replace(path)


@pytest.mark.parametrize("change", [grow, touch, replace_in_kind, Path.unlink])
@pytest.mark.parametrize("name", ["shop/000.parquet", "mail/000.parquet", "contacts.parquet"])
def test_a_changed_input_is_named(change: Callable[[Path], object], name: str, file: Path) -> None:
    opened = open_run(configuration(file))
    check_unchanged(opened)
    change(file.parent / name)
    with pytest.raises(IntegrityError) as caught:
        check_unchanged(opened)
    assert caught.value.code == "input-changed"
    assert caught.value.message.splitlines() == [
        "1 input files were changed, replaced or removed during the run",
        f"  {file.parent / name}",
    ]
    assert "again" in caught.value.hint


def test_a_file_that_came_later_belongs_to_the_next_run(file: Path) -> None:
    opened = open_run(configuration(file))
    shop(5).write_parquet(file.parent / "shop" / "001.parquet")
    check_unchanged(opened)


def test_contacts_are_listed_again_when_they_are_read(file: Path) -> None:
    folder = file.parent / "people"
    folder.mkdir()
    (file.parent / "contacts.parquet").rename(folder / "a.parquet")
    opened = open_run(configuration(file, contacts__path=str(folder)))
    (folder / "b.parquet").write_bytes((folder / "a.parquet").read_bytes())
    with pytest.raises(IntegrityError, match=r"b\.parquet"):
        check_unchanged(opened)


def test_many_changed_files_are_counted(file: Path) -> None:
    write_files(file.parent / "many", [shop(5)[:1]] * 25)
    opened = open_run(configuration(file, sources__shop__path=str(file.parent / "many")))
    for path in (file.parent / "many").iterdir():
        touch(path)
    with pytest.raises(IntegrityError, match=r"25 input files[\s\S]*and 5 more"):
        check_unchanged(opened)
