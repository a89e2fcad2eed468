from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from engine.doctor import space
from engine.doctor.space import Room, check_output_space, check_temporary_space
from engine.errors import ExitCode
from engine.tables.layout import manifest_path
from engine.tables.manifest import FileRecord, Manifest, manifest_to_json, table_record

MIB, GIB = 1 << 20, 1 << 30
DAY = date(2026, 1, 31)


def free(monkeypatch: pytest.MonkeyPatch, size: int, files: int | None = 1_000_000) -> None:
    monkeypatch.setattr(space, "room_at", lambda folder: Room(size, files))


def published(out: Path, size: int) -> None:
    record = FileRecord(f"segments/as_of={DAY}/segment=a/part-0.parquet", 1, size, "0" * 64)
    table = table_record("segments", DAY, (("user_id", "String"),), [record])
    path = manifest_path(out, DAY)
    path.parent.mkdir(parents=True)
    manifest = Manifest("r1", DAY, None, {}, {}, (table,))
    path.write_text(json.dumps(manifest_to_json(manifest)), encoding="utf-8")


@pytest.mark.parametrize(
    ("size", "files", "status"),
    [
        (20 * GIB, 1_000_000, "ok"),
        (20 * GIB, None, "ok"),
        (500 * MIB, 1_000_000, "warning"),
        (50 * MIB, 1_000_000, "failed"),
        (20 * GIB, 12, "failed"),
    ],
)
def test_room_for_tables(
    subject: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, size: int, files: int | None, status: str
) -> None:
    free(monkeypatch, size, files)
    [finding] = check_output_space(subject())
    assert finding.status == status
    assert finding.exit_code == (ExitCode.RESOURCES if status == "failed" else ExitCode.DONE)


@pytest.mark.parametrize(("size", "status"), [(16 * GIB, "ok"), (14 * GIB, "warning"), (4 * GIB, "failed")])
def test_room_against_the_last_date(
    subject: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, size: int, status: str
) -> None:
    asked = subject()
    published(asked.out, 5 * GIB)
    free(monkeypatch, size)
    [finding] = check_output_space(asked)
    assert finding.status == status
    assert finding.measured["last_bytes"] == 5 * GIB


def test_a_manifest_that_cannot_be_read_says_nothing(
    subject: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = subject()
    published(asked.out, 5 * GIB)
    manifest_path(asked.out, DAY).write_text("{", encoding="ascii")
    free(monkeypatch, 2 * GIB)
    assert [one.status for one in check_output_space(asked)] == ["ok"]


@pytest.mark.parametrize(("size", "status"), [(20 * GIB, "ok"), (500 * MIB, "warning"), (10 * MIB, "failed")])
def test_room_for_temporary_files(
    subject: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, size: int, status: str
) -> None:
    free(monkeypatch, size)
    assert [one.status for one in check_temporary_space(subject())] == [status]


def test_the_folder_of_ray_is_looked_at_too(subject: Callable[..., Any], tmp_path: Path) -> None:
    environment = {"RAY_TMPDIR": str(tmp_path / "home")}
    paths = [one.measured["path"] for one in check_temporary_space(subject(environment=environment, executor="ray"))]
    assert paths == [str(tmp_path / "tmp"), str(tmp_path / "home")]
    assert len(list(check_temporary_space(subject(environment=environment)))) == 1


def test_this_disk_has_room(tmp_path: Path) -> None:
    assert space.room_at(tmp_path).bytes > 0
