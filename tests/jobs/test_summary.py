from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from typer.testing import Result

Tamis = Callable[..., Result]

CONFIG = """\
[[sources]]
name = "shop"
path = "orders.parquet"
[sources.columns]
user_id = "customer"
event_type = { value = "purchase" }
event_time = "at"
amount = "paid"
[events]
purchase = "purchase"
[clusters]
enabled = false
[model]
min_positives = 5
test_users = 0
gate = "warn"
[[targets]]
name = "again"
event = "purchase"
horizon_days = 10
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    orders = [
        (user, datetime(2026, 1, 1) + timedelta(days=day), float(user % 7 * day % 11))
        for user in range(60)
        for day in range(user % 9, 120, 5 + user % 13)
    ]
    pl.DataFrame(orders, schema=["customer", "at", "paid"], orient="row").write_parquet("orders.parquet")
    (tmp_path / "tamis.toml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


@pytest.mark.slow
def test_a_run_tells_of_its_models_once(tamis: Tamis, shop: Path) -> None:
    first = tamis("run", "--as-of", "2026-05-01")
    assert first.exit_code == 0, first.stderr
    assert "\nModel again: purchase within 10 days\n  on 60 users at 2026-04-21, later than" in first.stdout
    figure = r"[01]\.\d{3}"
    heads = r"\n  measure +model  95 % interval +logistic  base rate\n"
    assert re.search(rf"{heads}  AUC +{figure}  {figure} to {figure} +{figure} +0\.500\n", first.stdout)
    assert ", fitted as of 2026-05-01\n" in first.stdout
    second = tamis("run", "--as-of", "2026-05-02")
    assert "\nModel again" not in second.stdout
    assert ", fitted as of 2026-05-01, used again\n" in second.stdout
    rows = json.loads(tamis("run", "--as-of", "2026-05-02", "--json").stdout)["counts"]["rows"]
    assert f"{rows['read']:,} rows read = {rows['kept']:,} events kept + " in second.stdout
