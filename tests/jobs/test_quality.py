from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest
import typer
from typer.testing import CliRunner, Result

from engine.errors import ConfigError
from engine.quality.table import Measured, frame
from engine.tables.durable import durable_json, durable_parquet
from engine.tables.layout import manifest_path, table_folder
from engine.tables.manifest import Manifest, dtypes_of, manifest_to_json, table_record
from jobs.quality import quality

FIRST, SECOND = date(2026, 3, 1), date(2026, 3, 2)
COMPLETE = Measured("source", "shop", "completeness", "amount", 3, 4)
MEASURED = [
    Measured("source", "shop", "rows", None, 1200),
    Measured("source", "shop", "rows_rejected", None, 0),
    Measured("source", "shop", "rows_read", None, 4, day=20_513),
    Measured("source", "shop", "rows_kept", None, 3, day=20_513),
    Measured("source", "shop", "rows_duplicate", None, 1, day=20_513),
    Measured("contacts", "contacts", "rows", None, 7),
]
CONFIG = """
out = "out"
[[sources]]
name = "shop"
path = "shop"
[sources.columns]
user_id = "u"
event_type = "t"
event_time = "at"
"""
Tamis = Callable[..., Result]


def publish(out: Path, day: date, measured: list[Measured]) -> None:
    table = frame(measured)
    file = durable_parquet(table, table_folder(out, "quality", day), "part-00000", root=out)
    record = table_record("quality", day, dtypes_of(table.schema), [file])
    note(out, Manifest(f"score-{day}", day, None, {}, {}, (record,)))


def note(out: Path, manifest: Manifest) -> None:
    path = manifest_path(out, manifest.as_of)
    path.parent.mkdir(exist_ok=True)
    durable_json(manifest_to_json(manifest), path)


@pytest.fixture
def tamis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tamis:
    (tmp_path / "tamis.toml").write_text(CONFIG, encoding="utf-8")
    publish(tmp_path / "out", FIRST, [*MEASURED, COMPLETE])
    publish(tmp_path / "out", SECOND, [*MEASURED, replace(COMPLETE, numerator=2, status="warn")])
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(quality)
    return lambda *arguments: CliRunner().invoke(app, arguments)


def test_what_was_measured_and_how_it_changed(tamis: Tamis) -> None:
    result = tamis()
    assert result.exit_code == 0, result.output
    title, head, *lines = result.stdout.splitlines()
    assert title == "Quality of the data of 2026-03-02, and of 1 date before"
    assert head.split() == ["of", "metric", "column", "value", "before", "change", "limit", "trend"]
    assert [line.split() for line in lines] == [
        ["shop", "completeness", "amount", "50.00%", "75.00%", "-33.3%", "warn", "█▁"],
        ["shop", "rows", "1,200", "1,200", "+0.0%", "▄▄"],
        ["contacts", "rows", "7", "7", "+0.0%", "▄▄"],
    ]


def test_one_date_and_one_metric_as_json(tamis: Tamis) -> None:
    result = tamis("--as-of", "2026-03-01", "--source", "shop", "--metric", "completeness", "--json")
    assert json.loads(result.stdout) == {
        "as_of": "2026-03-01",
        "measured": [
            {
                "scope": "source",
                "name": "shop",
                "metric": "completeness",
                "column": "amount",
                "value": 0.75,
                "previous": None,
                "change": None,
                "status": "none",
                "trend": {"2026-03-01": 0.75},
            }
        ],
    }


def test_where_the_rows_of_each_day_went(tamis: Tamis) -> None:
    result = tamis("--by-day")
    assert [line.split() for line in result.stdout.splitlines()[1:]] == [
        ["source", "day", "read", "duplicate", "kept"],
        ["shop", "2026-03-01", "4", "1", "3"],
    ]
    days = json.loads(tamis("--by-day", "--json").stdout)["days"]
    assert [(line["day"], line["read"], line["rejected"]) for line in days] == [("2026-03-01", 4, 0)]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--source", "shp"), "quality-unknown", "did you mean 'shop'?"),
        (("--metric", "row"), "quality-unknown", "did you mean 'rows'?"),
        (("--source", "contacts", "--metric", "completeness"), "quality-unknown", "Measured of contacts: rows."),
        (("--as-of", "2026-01-01"), "quality-none", "of 2026-01-01 was not published"),
    ],
)
def test_what_there_is_not(tamis: Tamis, arguments: tuple[str, ...], code: str, says: str) -> None:
    result = tamis(*arguments)
    assert isinstance(result.exception, ConfigError)
    assert result.exception.code == code
    assert says in f"{result.exception.message} {result.exception.hint}"


def test_a_date_of_a_version_before(tamis: Tamis, tmp_path: Path) -> None:
    note(tmp_path / "out", Manifest("score-3", date(2026, 3, 3), None, {}, {}, ()))
    result = tamis()
    assert isinstance(result.exception, ConfigError)
    assert result.exception.code == "quality-none"
    assert "2026-03-02, 2026-03-01" in result.exception.hint
    assert pl.read_parquet(tmp_path / "out/quality/as_of=2026-03-02/*.parquet").height == 7
