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
    assert "email_open     6" in result.stdout
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
        "event_types": {"email_open": 6, "purchase": 3},
        "roles": {"purchase": "purchase", "open": "email_open"},
    }


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("events/*.parquet", "--user", "nosuch"), "init-no-guess"),
        (("events/*.parquet", "-o", "nosuch/tamis.toml"), "init-no-folder"),
        (("events/*.parquet", "--time", "amount"), "events-columns"),
        (("nothing/*.parquet",), "input-no-files"),
        (("bad.parquet",), "input-unreadable"),
    ],
)
def test_init_fails_without_a_trace(tamis: Tamis, log: Path, arguments: tuple[str, ...], code: str) -> None:
    (log / "bad.parquet").write_bytes(b"PAR1")
    before = sorted(log.rglob("*"))
    result = tamis("init", *arguments)
    assert result.stdout == ""
    assert f"error[{code}]" in result.stderr
    assert sorted(log.rglob("*")) == before
