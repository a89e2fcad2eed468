from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.rollups.units import SourceFile, Unit, by_source, date_in, look_back, source_file, units_of


@pytest.mark.parametrize(
    ("path", "day"),
    [
        ("/log/2026-11-22/a.parquet", "2026-11-22"),
        ("/log/20261122.parquet", "2026-11-22"),
        ("/log/2026_11_22.parquet", "2026-11-22"),
        ("/log/2026.11.22.parquet", "2026-11-22"),
        ("/log/2026/11/22/x.parquet", "2026-11-22"),
        ("/log/year=2026/month=11/day=22/x.parquet", "2026-11-22"),
        ("/log/year=2026/month=3/day=2/x.parquet", "2026-03-02"),
        ("/log/dt=2026-11-22/part-00001.parquet", "2026-11-22"),
        # The last one counts: the folder may be that of an export.
        ("/export-2025-01-01/2026-11-22.parquet", "2026-11-22"),
        ("/log/2026-02-29/x.parquet", ""),
        ("/log/2024-02-29/x.parquet", "2024-02-29"),
        ("/2026-11-22/2026-13-01.parquet", "2026-11-22"),
        ("/log/2026-11/22.parquet", ""),
        ("/log/2026-1122.parquet", ""),
        ("/log/120261122.parquet", ""),
        ("/log/202611221.parquet", ""),
        ("/log/1700000000.parquet", ""),
        ("/log/0000-01-01.parquet", ""),
        ("/log/part-00000.parquet", ""),
    ],
)
def test_the_date_that_a_path_names(path: str, day: str) -> None:
    assert date_in(path) == day


def file_of(path: str, size: int = 1, modified: int = 2, inode: int = 3, parquet: str = "/p") -> SourceFile:
    return SourceFile(path, size, modified, inode, parquet)


def test_files_of_one_day_are_a_unit() -> None:
    names = ["/b/2026-01-02.parquet", "/c.parquet", "/a/2026-01-02.parquet", "/2026-01-01.parquet", "/b.parquet"]
    files = [file_of(name) for name in names]
    together = units_of(3, files, apart=False)
    assert [(unit.source, unit.label, [file.path for file in unit.files]) for unit in together] == [
        (3, "", ["/b.parquet", "/c.parquet"]),
        (3, "2026-01-01", ["/2026-01-01.parquet"]),
        (3, "2026-01-02", ["/a/2026-01-02.parquet", "/b/2026-01-02.parquet"]),
    ]
    assert [unit.label for unit in units_of(3, files, apart=True)] == [
        "/b.parquet",
        "/c.parquet",
        "2026-01-01",
        "2026-01-02",
    ]
    assert units_of(0, files[::-1], apart=False) == units_of(0, files, apart=False)
    assert by_source(together) == {3: {unit.label: unit for unit in together}}


@pytest.mark.parametrize("changes", [{"size": 9}, {"modified": 9}, {"inode": 9}, {"path": "/other"}, {"parquet": "/q"}])
def test_a_unit_is_another_one_when_a_file_is(changes: dict[str, object]) -> None:
    values: dict[str, object] = {"path": "/a", **changes}
    unit = Unit(0, "", (file_of("/a"),))
    other = Unit(0, "", (file_of(**values),))  # type: ignore[arg-type]
    assert unit.identity() != other.identity()
    assert unit.identity() == Unit(1, "x", (file_of("/a"),)).identity()


def test_what_the_file_system_says_of_a_file(tmp_path: Path) -> None:
    file, other = tmp_path / "a", tmp_path / "b"
    for path in (file, other):
        path.write_bytes(b"123")
        os.utime(path, ns=(7, 7))
    status = file.stat()
    found = source_file(file)
    assert found == SourceFile(str(file), 3, 7, status.st_ino, str(file))
    # Another file that takes the name, of the same size and age.
    other.replace(file)
    assert source_file(file) != found
    with pytest.raises(FileNotFoundError):
        source_file(other)


def units_at(*labels: str) -> dict[str, Unit]:
    return {label: Unit(0, label, ()) for label in labels}


@pytest.mark.parametrize(
    ("label", "days", "before"),
    [
        ("2026-03-01", 0, []),
        ("2026-03-01", 1, ["", "2026-02-28"]),
        ("2026-03-01", 2, ["", "2026-02-27", "2026-02-28"]),
        ("2026-03-01", 36_500, ["", "2025-12-31", "2026-02-27", "2026-02-28"]),
        ("2026-02-28", 1, ["", "2026-02-27"]),
        ("2025-12-31", 9, [""]),
        ("", 9, []),
        ("0001-01-01", 36_500, [""]),
    ],
)
def test_the_units_that_one_looks_back_to(label: str, days: int, before: list[str]) -> None:
    labels = units_at("", "2025-12-31", "2026-02-27", "2026-02-28", "2026-03-01", "2026-03-02")
    assert [unit.label for unit in look_back(Unit(0, label, ()), labels, days)] == before


@given(st.sets(st.dates(date(2026, 1, 1), date(2026, 1, 9)).map(str)), st.integers(1, 9))
def test_units_out_of_reach_change_nothing(labels: set[str], days: int) -> None:
    near = units_at(*labels)
    # They change the way that is taken: day by day, or unit by unit.
    all_ = {**near, **units_at(*(f"{year}-06-15" for year in range(1000, 1020)))}
    for unit in near.values():
        found = [other.label for other in look_back(unit, all_, days)]
        assert [other.label for other in look_back(unit, near, days)] == found
        gaps = [(date.fromisoformat(unit.label) - date.fromisoformat(label)).days for label in sorted(labels)]
        assert found == [label for label, gap in zip(sorted(labels), gaps, strict=True) if 0 < gap <= days]
