from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from typer.testing import Result

from tests.ledger.publishing import Day, Defined, publish_day

Tamis = Callable[..., Result]
DATES = [date(2026, 1, day) for day in (1, 2)]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("published") / "out"
    for as_of in DATES:
        publish_day(out, Day(as_of, {1: {}, 2: {}}, {1: {"a"}, 2: {"b"}}, [Defined("a"), Defined("b")]))
    return out


@pytest.fixture
def out(folder: Path, published: Path) -> Path:
    return Path(shutil.copytree(published, folder / "out"))


def files(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def damage(out: Path, as_of: date = DATES[0]) -> str:
    path = min((out / "memberships" / f"as_of={as_of}").rglob("*.parquet"))
    flip(path)
    return path.relative_to(out).as_posix()


def test_what_was_written_is_whole(tamis: Tamis, out: Path) -> None:
    before = files(out)
    done = tamis("verify", "--deep")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("out is whole: 2 dates, 0 bundles, 0 units of rollups; ")
    assert len(done.stdout.splitlines()) == 1
    parquet = [name for name in before if name.endswith(".parquet")]
    told = json.loads(tamis("verify", "--all", "--json").stdout)
    assert told == {
        "out": str(out),
        "dates": [day.isoformat() for day in DATES],
        "files": len(parquet),
        "bytes": sum(len(before[name]) for name in parquet),
        "bundles": 0,
        "units": 0,
        "problems": [],
        "leftovers": [],
    }
    assert tamis("verify", "--quiet").stdout == ""
    assert files(out) == before


def test_a_flipped_byte_is_told_with_its_file(tamis: Tamis, out: Path) -> None:
    where = damage(out)
    done = tamis("verify")
    assert done.exit_code == 7
    assert done.stdout == ""
    assert "error[output-damaged]: 1 problem under out" in done.stderr
    assert f"{where}: the content differs from its SHA-256; run {DATES[0]} again" in done.stderr
    as_json = tamis("verify", "--json")
    assert as_json.exit_code == 7
    assert json.loads(as_json.stdout)["problems"] == [
        {"where": where, "problem": "the content differs from its SHA-256", "remedy": f"run {DATES[0]} again"}
    ]
    # Only the date that is asked about.
    assert tamis("verify", "--as-of", f"{DATES[0]}", "--quiet").exit_code == 7
    other = tamis("verify", "--as-of", f"{DATES[1]}", "--json")
    assert (other.exit_code, json.loads(other.stdout)["dates"]) == (0, [DATES[1].isoformat()])


def test_what_killed_runs_left_is_no_damage(tamis: Tamis, out: Path) -> None:
    (out / "_work" / "score-x").mkdir()
    for name in ("_delta/segments/_delta_log/0.json", "_iceberg/catalog.db", "_formats/committed.json", "_remote/a"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(b"?")
    done = tamis("verify")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[1:] == ["Left by a run that was killed or is writing now: _work/score-x"]
    assert json.loads(tamis("verify", "--json").stdout)["leftovers"] == ["_work/score-x"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--all", "--as-of", "2026-01-01"), "error[usage]"),
        (("--as-of", "2026-01-09"), "error[not-published]: nothing is published for 2026-01-09"),
        (("--as-of", "yesterday"), "error[as-of-invalid]"),
    ],
)
def test_what_cannot_be_verified(tamis: Tamis, out: Path, arguments: tuple[str, ...], says: str) -> None:
    done = tamis("verify", *arguments)
    assert done.exit_code == 2
    assert says in done.stderr
    assert done.stdout == ""


def test_nothing_is_there_yet(tamis: Tamis, folder: Path) -> None:
    done = tamis("verify", "--json")
    assert (done.exit_code, json.loads(done.stdout)["dates"]) == (0, [])
    assert not (folder / "out").exists()
