from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from engine.config import Config
from engine.errors import IntegrityError, TamisError
from engine.exports import export as exporting
from engine.exports.export import export_segments
from engine.exports.files import RECORD
from engine.exports.listing import (
    ListedFile,
    change_files,
    exports_folder,
    forget_files,
    listed_exports,
    standing_files,
    unfinished_folders,
)
from engine.exports.record import Request
from tests.exports.published import AS_OF, ASLEEP, PREMIUM, make, people

ADDRESSES = {"u-1": "first@example.org", "u-2": "second@example.org", "u-3": "third@example.org"}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return make(tmp_path, people(ADDRESSES), members={PREMIUM: ["u-1", "u-2"], ASLEEP: ["u-3"]}, email="mail")


def export(config: Config, to: Path, *names: str, overwrite: bool = False) -> None:
    export_segments(config, Request("brevo", names or (PREMIUM, ASLEEP), to, overwrite=overwrite))


def test_gd07_each_export_is_listed_with_its_files_and_without_people(config: Config, tmp_path: Path) -> None:
    out = Path(config.out)
    assert listed_exports(out) == ()
    export(config, tmp_path / "to")
    [listed] = listed_exports(out)
    assert (listed.tool, listed.as_of, listed.run_id, listed.to) == ("brevo", AS_OF, "run-1", str(tmp_path / "to"))
    assert [(one.segment, one.kind, one.written) for one in listed.segments] == [
        (PREMIUM, "members", 2),
        (ASLEEP, "members", 1),
    ]
    for file in listed.files:
        content = Path(file.path).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (file.sha256, file.bytes)
    assert [file.rows for file in listed.files] == [2, 1]
    [entry] = exports_folder(out).iterdir()
    assert entry.stem == listed.export
    text = entry.read_text(encoding="utf-8")
    assert not [one for pair in ADDRESSES.items() for one in pair if one in text]
    assert sorted(standing_files(listed_exports(out))) == sorted(file.path for file in listed.files)


def test_files_that_were_moved_or_written_again_belong_to_the_last_export(config: Config, tmp_path: Path) -> None:
    out = Path(config.out)
    export(config, tmp_path / "to")
    export(config, tmp_path / "to", PREMIUM, overwrite=True)
    assert len(listed_exports(out)) == 2
    last = max(listed_exports(out), key=lambda one: len(one.files) == 1)
    standing = standing_files(listed_exports(out))
    assert list(standing) == [last.files[0].path]
    Path(last.files[0].path).rename(tmp_path / "moved.csv")
    assert standing_files(listed_exports(out)) == {}


def test_an_export_that_fails_is_not_listed_and_one_that_is_killed_is(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Path(config.out)

    def fails(*_: object) -> None:
        raise TamisError("no", code="x")

    with monkeypatch.context() as patch:
        patch.setattr(exporting, "check_record", fails)
        with pytest.raises(TamisError):
            export(config, tmp_path / "to")
    assert listed_exports(out) == ()
    # A process that is killed removes nothing: the folder that it was writing is found by the entry.
    export(config, tmp_path / "to")
    left = tmp_path / ".to-0123abcd.export"
    (tmp_path / "to").rename(left)
    assert unfinished_folders(listed_exports(out)) == [left]


def test_changed_files_are_told_in_both_places(config: Config, tmp_path: Path) -> None:
    out = Path(config.out)
    export(config, tmp_path / "to")
    [listed] = listed_exports(out)

    def shorter(file: ListedFile) -> ListedFile:
        return replace(file, rows=file.rows - 1, sha256="0" * 64, bytes=7)

    change_files(out, listed, shorter)
    [changed] = listed_exports(out)
    assert [file.rows for file in changed.files] == [1, 0]
    record = json.loads((tmp_path / "to" / RECORD).read_bytes())
    assert {file["sha256"] for file in record["files"]} == {"0" * 64}
    assert {file["bytes"] for segment in record["segments"] for file in segment["files"]} == {7}
    forget_files(out, changed, [changed.files[0].path])
    [left] = listed_exports(out)
    assert left.files == changed.files[1:]
    # What the export says of itself still lets it be replaced.
    Path(changed.files[0].path).unlink()
    export(config, tmp_path / "to", overwrite=True)


def test_a_damaged_entry_is_an_error(config: Config, tmp_path: Path) -> None:
    export(config, tmp_path / "to")
    [entry] = exports_folder(Path(config.out)).iterdir()
    entry.write_text(entry.read_text().replace('"rows"', '"row"'))
    with pytest.raises(IntegrityError) as caught:
        listed_exports(Path(config.out))
    assert caught.value.code == "exports-list"
