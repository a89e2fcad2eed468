from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from typer.testing import Result

from engine.config_file import load_config

Tamis = Callable[..., Result]


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    (tmp_path / "events").mkdir()
    for day in range(3):
        pl.DataFrame(
            {
                "customer_id": ["a", "b", "c", None],
                "event": ["purchase", "email_open", "email_open", "purchase"],
                "event_time": [datetime(2026, 1, 1) + timedelta(days=day)] * 4,
                "amount": [1.5, None, None, 2.0],
            }
        ).write_parquet(tmp_path / "events" / f"{day}.parquet")
    return tmp_path


def test_init_writes_a_configuration_that_loads(tamis: Tamis, log: Path) -> None:
    result = tamis("init", "events/*.parquet")
    assert result.exit_code == 0, result.stderr
    assert "12 rows in 3 files" in result.stdout
    assert "email_open     6  open" in result.stdout
    assert "warning: `where` leaves out 3 of 12 rows (25.0%) that have no customer_id\n" in result.stderr
    assert "tamis run --as-of 2026-01-04" in result.stderr
    config = load_config(log / "tamis.toml").config
    [source] = config.sources
    assert (source.name, source.path) == ("events", str(log / "events/*.parquet"))
    assert source.where == "customer_id IS NOT NULL"
    assert (config.events.purchase, config.events.open, config.events.send) == ("purchase", "email_open", None)
    text = (log / "tamis.toml").read_text(encoding="utf-8")
    assert 'path = "events/*.parquet"' in text
    assert "#   6  email_open" in text


def test_init_checks_with_the_engine(tamis: Tamis, log: Path) -> None:
    assert tamis("init", "events/*.parquet").exit_code == 0
    result = tamis("check", "--as-of", "2026-01-04", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["as_of"] == "2026-01-04"


def test_paths_are_relative_to_the_file(tamis: Tamis, log: Path) -> None:
    (log / "conf").mkdir()
    assert tamis("init", "events/0.parquet", "events/1.parquet", "-o", "conf/new.toml").exit_code == 0
    assert 'path = ["../events/0.parquet", "../events/1.parquet"]' in (log / "conf" / "new.toml").read_text()
    paths = load_config(Path("conf/new.toml")).config.sources[0].path
    assert paths == (str(log / "events/0.parquet"), str(log / "events/1.parquet"))


def test_init_does_not_overwrite(tamis: Tamis, log: Path) -> None:
    (log / "tamis.toml").write_text("mine")
    result = tamis("init", "events")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "error[init-exists]" in result.stderr
    assert (log / "tamis.toml").read_text() == "mine"
    assert tamis("init", "events", "--force", "-q").output == ""
    assert load_config(log / "tamis.toml").config.sources[0].name == "events"


def test_init_as_json(tamis: Tamis, log: Path) -> None:
    answer = json.loads(tamis("init", "events", "--json").stdout)
    assert answer == {
        "path": "tamis.toml",
        "columns": {
            "user_id": "customer_id",
            "event_type": "event",
            "event_time": "event_time",
            "amount": "amount",
        },
        "where": "customer_id IS NOT NULL",
        "event_types": {"email_open": 6, "purchase": 3},
        "roles": {"purchase": "purchase", "open": "email_open"},
        "notes": ["`where` leaves out 3 of 12 rows (25.0%) that have no customer_id"],
    }


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("events/*.parquet", "--user", "nosuch"), "init-no-guess"),
        (("events/*.parquet", "-o", "nosuch/tamis.toml"), "init-no-folder"),
        (("events/*.parquet", "--time", "amount"), "events-columns"),
        (("nothing/*.parquet",), "input-no-files"),
        (("bad.parquet",), "input-unreadable"),
        (("events/0.parquet", "orders.parquet"), "init-different-files"),
    ],
)
def test_init_fails_without_a_trace(tamis: Tamis, log: Path, arguments: tuple[str, ...], code: str) -> None:
    (log / "bad.parquet").write_bytes(b"PAR1")
    pl.DataFrame({"user": [1], "at": [datetime(2026, 1, 1)]}).write_parquet(log / "orders.parquet")
    before = sorted(log.rglob("*"))
    result = tamis("init", *arguments)
    assert result.stdout == ""
    assert f"error[{code}]" in result.stderr
    assert sorted(log.rglob("*")) == before


def test_a_missing_log_is_told_before_a_file_that_exists(tamis: Tamis, log: Path) -> None:
    (log / "tamis.toml").write_text("mine")
    result = tamis("init", "nothing/*.parquet")
    assert result.stderr.startswith("error[input-no-files]: no Parquet file matches 'nothing/*.parquet'\n")


@pytest.mark.parametrize("option", ["-o", "--output", "-c", "--config"])
def test_the_file_to_write_has_two_names(tamis: Tamis, log: Path, option: str) -> None:
    assert tamis("init", "events", option, "new.toml", "-q").exit_code == 0
    assert load_config(log / "new.toml").config.sources[0].name == "events"


def test_mixed_events_are_kept(tamis: Tamis, log: Path) -> None:
    pl.DataFrame(
        {
            "customer_id": [f"u{n % 50}" for n in range(200)],
            "event": ["email_sent", "email_opened", "order_completed", "order_completed"] * 50,
            "ts": [datetime(2026, 1, 1) + timedelta(hours=n) for n in range(200)],
            "quantity": [None, None, 1, 2] * 50,
            "unit_price": [None, None, *[5.0, 9.5] * 99],
        }
    ).with_columns(
        unit_price=pl.when(pl.col("event") == "order_completed").then(pl.col("unit_price").fill_null(0.0))
    ).with_columns(unit_price=pl.when(pl.int_range(pl.len()) == 2).then(0.0).otherwise("unit_price")).write_parquet(
        "mixed.parquet"
    )
    result = tamis("init", "mixed.parquet")
    assert "warning: `where` leaves out 1 of 200 rows (0.5%) that have a unit_price of 0 or less" in result.stderr
    answer = json.loads(tamis("check", "--json").stdout)["counts"]
    assert answer["rows"]["left_out"] == 1
    assert answer["event_types"] == {"email_opened": 50, "email_sent": 50, "order_completed": 99}


def test_times_as_text(tamis: Tamis, log: Path) -> None:
    times = [f"{day:02}/{month:02}/2026 08:26" for month in (1, 2, 3) for day in range(1, 29)]
    pl.DataFrame({"user_id": range(len(times)), "InvoiceDate": times}).write_parquet("text.parquet")
    result = tamis("init", "text.parquet")
    assert result.exit_code == 0, result.stderr
    [source] = load_config(log / "tamis.toml").config.sources
    assert source.columns.model_dump()["event_time"] == {"sql": "STRPTIME(InvoiceDate, '%d/%m/%Y %H:%M')"}
    assert "too: check which one" not in result.stderr
    assert json.loads(tamis("check", "--json").stdout)["counts"]["rows"]["rejected"] == 0


def test_times_that_leave_day_and_month_open(tamis: Tamis, log: Path) -> None:
    pl.DataFrame({"user_id": [1, 2], "date": ["01/02/2026", "03/02/2026"]}).write_parquet("text.parquet")
    result = tamis("init", "text.parquet")
    assert "note: date is text; it reads as %d/%m/%Y\n" in result.stderr
    assert "note: date reads as %m/%d/%Y too: check which one it is\n" in result.stderr
    assert "# date reads as %m/%d/%Y too" in (log / "tamis.toml").read_text(encoding="utf-8")
