from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from typer.testing import Result

from engine.events import probe
from engine.rollups.index import INDEX_NAME, read_index
from tests.rollups.stores import stored

Tamis = Callable[..., Result]
ZERO = datetime(2026, 3, 30, 12, tzinfo=UTC)
TOML = """\
[[sources]]
name = "shop"
path = "log"
[sources.columns]
user_id = "user"
event_type = { value = "buy" }
event_time = "at"
event_id = "id"

[[sources]]
name = "web"
path = "visits.parquet"
[sources.columns]
user_id = "user"
event_type = { value = "visit" }
event_time = "at"
[events]
purchase = "buy"
"""


def put(file: Path, day: int, *users: str | None) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [(user, ZERO + timedelta(days=day), f"{day} {user}") for user in users]
    pl.DataFrame(
        rows, {"user": pl.String, "at": pl.Datetime("us", "UTC"), "id": pl.String}, orient="row"
    ).write_parquet(file)


@pytest.fixture(autouse=True)
def footers_without_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    def answers(files: Sequence[Path], columns: Mapping[Path, Sequence[str]]) -> Iterator[str]:
        return (json.dumps(probe._probe(file, columns.get(file, ()))) for file in files)

    monkeypatch.setattr(probe, "_child_lines", answers)


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for day in range(4):
        put(tmp_path / "log" / f"{(ZERO + timedelta(days=day)).date()}.parquet", day, "a", "b", "b", None)
    put(tmp_path / "visits.parquet", 1, "a")
    (tmp_path / "tamis.toml").write_text(TOML, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def store(log: Path, tamis: Tamis) -> Path:
    made = tamis("rollup", "rebuild", "-q")
    assert (made.exit_code, made.stdout, made.stderr) == (0, "", "")
    return log / "out" / "_rollups"


def lines(result: Result) -> list[list[str]]:
    assert result.exit_code == 0, result.stderr
    return [line.split() for line in result.stdout.splitlines()]


def test_list_before_the_first_run(tamis: Tamis, log: Path) -> None:
    result = tamis("rollup", "list")
    assert [line[0:2] + line[-1:] for line in lines(result)[1:6]] == [
        ["shop", "2026-03-30", "new"],
        ["shop", "2026-03-31", "new"],
        ["shop", "2026-04-01", "new"],
        ["shop", "2026-04-02", "new"],
        ["web", "visits.parquet", "new"],
    ]
    assert "5 units: 5 new" in result.stdout
    assert "The store out/_rollups is empty; the first run fills it." in result.stdout
    assert not (log / "out").exists()


def test_list(tamis: Tamis, store: Path, log: Path) -> None:
    put(log / "log" / "2026-04-02.parquet", 3, "c")
    (log / "log" / "2026-03-30.parquet").unlink()
    put(log / "log" / "2027-01-01.parquet", 9, "c")
    found = lines(tamis("rollup", "list"))
    assert found[0] == "source unit days rows events duplicates rejected files size state".split()
    assert found[1][:7] + found[1][-1:] == "shop 2026-03-30 2026-03-30 4 2 1 1 gone".split()
    assert [line[-1] for line in found[2:7]] == ["changed", "changed", "changed", "new", "current"]
    assert found[5] == "shop 2027-01-01 – – – – – – – new".split()
    assert found[7] == "6 units: 1 current, 3 changed, 1 new, 1 gone; 17 rows, 9 events".split()


@pytest.mark.parametrize(
    ("options", "units"),
    [
        (("--source", "web"), ["visits.parquet"]),
        (("--from", "2026-03-31", "--to", "2026-04-02"), ["2026-03-31", "2026-04-01"]),
        (("--to", "2026-03-31"), ["2026-03-30"]),
        (("--source", "web", "--to", "2026-03-31"), []),
        (("--months",), ["2026-03", "2026-04", "visits.parquet"]),
    ],
)
def test_list_some(tamis: Tamis, store: Path, options: tuple[str, ...], units: list[str]) -> None:
    found = lines(tamis("rollup", "list", *options))
    assert [line[1] for line in found if line[0] in {"shop", "web"}] == units


def test_list_by_month_adds_up(tamis: Tamis, store: Path, log: Path) -> None:
    (log / "log" / "2026-03-30.parquet").unlink()
    march = lines(tamis("rollup", "list", "--months"))[1]
    assert march[:7] == "shop 2026-03 2026-03-30..2026-03-31 8 4 2 2".split()
    assert march[-4:] == "1 changed, 1 gone".split()


def test_list_as_json(tamis: Tamis, store: Path) -> None:
    result = json.loads(tamis("rollup", "list", "--source", "shop", "--to", "2026-03-31", "--json").stdout)
    entry = read_index(store).entries[0]
    size = sum(file.bytes for file in entry.files())
    unit = {
        "source": "shop",
        "unit": "2026-03-30",
        "state": "current",
        "first_day": "2026-03-30",
        "last_day": "2026-03-30",
        "rows": 4,
        "kept": 2,
        "duplicates": 1,
        "merged": 0,
        "rejected": 1,
        "excluded": 0,
        "erased": 0,
        "files": len(list(entry.files())),
        "bytes": size,
    }
    assert result["units"] == [unit]
    sizes = {name: len(content) for name, content in stored(store).items()}
    assert result["store"] == {"path": str(store), "files": len(sizes), "bytes": sum(sizes.values())}
    assert (result["totals"]["units"], result["totals"]["current"], result["totals"]["gone"]) == (1, 1, 0)
    assert (result["totals"]["rows"], result["totals"]["bytes"]) == (4, size)


def test_list_says_that_the_index_is_damaged(tamis: Tamis, store: Path) -> None:
    (store / INDEX_NAME).write_text("{", encoding="utf-8")
    result = tamis("rollup", "list")
    assert result.exit_code == 0
    assert "the next run makes the store anew" in result.stderr
    assert "5 units: 5 new" in result.stdout
    assert tamis("rollup", "list", "-q").stderr == ""


def test_verify(tamis: Tamis, store: Path) -> None:
    result = tamis("rollup", "verify")
    assert result.exit_code == 0
    assert "The store out/_rollups is whole: 5 units in " in result.stdout
    assert "no unit needs" not in result.stdout
    (store / "left.parquet").write_bytes(b"x")
    assert "1 file that no unit needs" in tamis("rollup", "verify").stdout
    whole = json.loads(tamis("rollup", "verify", "--json").stdout)
    assert (whole["units"], whole["unindexed"]) == (5, ["left.parquet"])


def test_verify_tells_all_damages_and_rebuild_mends_them(tamis: Tamis, store: Path) -> None:
    entries = read_index(store).entries
    for entry in entries[1:3]:
        (store / entry.daily[0].path).write_bytes(b"x")
    result = tamis("rollup", "verify")
    assert (result.exit_code, result.stdout) == (7, "")
    assert "error[rollup-damaged]: 2 of " in result.stderr
    assert [f"shop {entry.label}: " in result.stderr for entry in entries[:4]] == [False, True, True, False]
    failure = json.loads(tamis("rollup", "verify", "--json").stdout)["error"]
    assert (failure["code"], failure["exit_code"]) == ("rollup-damaged", 7)
    rebuilt = tamis("rollup", "rebuild", "--from", "2026-03-31", "--to", "2026-04-01")
    assert "Rolled up 1 unit again: shop 2026-03-31\n" in rebuilt.stdout
    assert "Rolled up 1 other unit that were new, changed or damaged\nRead 8 rows; " in rebuilt.stdout
    assert tamis("rollup", "verify").exit_code == 0


def test_rebuild_all(tamis: Tamis, store: Path, log: Path) -> None:
    (log / "log" / "2026-03-30.parquet").unlink()
    (store / INDEX_NAME).write_text("{", encoding="utf-8")
    result = tamis("rollup", "rebuild")
    assert result.exit_code == 0, result.stderr
    assert "the whole store was made anew" in result.stderr
    assert "Rolled up 4 units again: shop 2026-03-31, shop 2026-04-01, " in result.stdout
    assert tamis("rollup", "verify").exit_code == 0


def test_rebuild_tells_what_the_log_does_not_have_any_more(tamis: Tamis, store: Path, log: Path) -> None:
    (log / "log" / "2026-03-30.parquet").unlink()
    asked = ("rollup", "rebuild", "--source", "web", "--json")
    rebuilt = json.loads(tamis(*asked).stdout)
    assert rebuilt["rebuilt"] == [{"source": "web", "unit": str(log / "visits.parquet")}]
    assert rebuilt["gone"] == [{"source": "shop", "unit": "2026-03-30"}]
    # Those that looked back to the one that is gone.
    assert rebuilt["others"] == 3
    assert rebuilt["rows"] == 13


def test_drop_says_what_would_go(tamis: Tamis, store: Path) -> None:
    before = stored(store)
    asked = ("rollup", "drop", "--from", "2026-03-31", "--to", "2026-04-02")
    told = tamis(*asked)
    assert told.exit_code == 0
    assert "Would remove 2 units, " in told.stdout
    assert told.stdout.strip().endswith("shop 2026-03-31, shop 2026-04-01")
    assert "--yes" in told.stderr
    assert stored(store) == before
    promised = json.loads(tamis(*asked, "--json").stdout)
    assert promised["removed"] is False
    assert stored(store) == before
    done = json.loads(tamis(*asked, "--yes", "--json").stdout)
    assert done == {**promised, "removed": True}
    assert len(stored(store)) == len(before) - done["files"]


def test_drop_everything(tamis: Tamis, store: Path) -> None:
    result = tamis("rollup", "drop", "--yes")
    assert result.exit_code == 0
    assert "Removed 5 units, " in result.stdout
    assert not store.exists()
    assert tamis("rollup", "drop", "--yes", "-q").stdout == ""
    assert "Would remove 0 units, 0 files, 0 B\n" in tamis("rollup", "drop").stdout


@pytest.mark.parametrize("command", ["list", "rebuild", "drop"])
@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--source", "shup"), "rollup-source"),
        (("--from", "2026-03-31", "--to", "2026-03-31"), "rollup-range"),
        (("--from", "2026-3-31"), "day-invalid"),
        (("--to", "2026-02-30"), "day-invalid"),
    ],
)
def test_what_cannot_be_asked_for(tamis: Tamis, log: Path, command: str, options: tuple[str, ...], code: str) -> None:
    result = tamis("rollup", command, *options)
    assert result.exit_code == 2
    assert f"error[{code}]" in result.stderr
    assert "Traceback" not in result.stderr
