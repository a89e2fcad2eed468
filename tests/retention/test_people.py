from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.config import Config
from engine.contacts.duplicates.decisions import Act, write_decisions
from engine.errors import ConfigError
from engine.execution.local import LocalExecutor
from engine.retention.retain import plan_retention

AS_OF = date(2026, 3, 1)
COLUMNS = {"user_id": "user", "event_type": "kind", "event_time": "at"}
ROLES = {"click": "click", "open": "open", "send": "send", "purchase": "buy"}


def write_log(folder: Path, rows: Sequence[tuple[str, str, int]], name: str = "log.parquet") -> None:
    """Events by user, type and how many days before `AS_OF` they were, at noon."""
    noon = datetime(AS_OF.year, AS_OF.month, AS_OF.day, 12, tzinfo=UTC)
    frame = pl.DataFrame(
        [(user, kind, noon - timedelta(days=days)) for user, kind, days in rows],
        {"user": pl.String, "kind": pl.String, "at": pl.Datetime("us", "UTC")},
        orient="row",
    )
    frame.write_parquet(folder / name)


def config_of(folder: Path, events: Mapping[str, Any] | None = None, **retention: Any) -> Config:
    return Config.model_validate(
        {
            "out": str(folder / "out"),
            "sources": [{"name": "log", "path": str(folder / "*.parquet"), "columns": COLUMNS}],
            "events": {**ROLES, **(events or {})},
            "retention": {"person_days": 1_095, **retention},
        }
    )


def expired(config: Config, as_of: date = AS_OF) -> list[str]:
    Path(config.out).mkdir(exist_ok=True)
    people = plan_retention(config, as_of, executor=LocalExecutor()).people
    assert people is not None
    return list(people.ids)


THREE_YEARS = [
    *(("opens-daily", "open", days) for days in range(1, 400)),
    *(("opens-daily", "send", days) for days in range(1, 400)),
    ("opens-daily", "click", 1_096),
    ("clicked-later", "click", 1_094),
    ("clicked-later", "send", 1_200),
    ("on-the-day", "click", 1_095),
    ("bought", "buy", 1_096),
    ("bought", "click", 1_500),
    ("bought-later", "buy", 10),
    ("bought-later", "click", 1_500),
    ("never-acted", "send", 1_096),
    ("never-acted", "open", 3),
    ("never-acted-new", "send", 1_095),
    ("came-back", "click", 2_000),
    ("came-back", "click", -1),
]


def test_gd10_three_years_from_the_last_act_that_opens_do_not_prolong(tmp_path: Path) -> None:
    write_log(tmp_path, THREE_YEARS)
    config = config_of(tmp_path)
    assert expired(config) == ["bought", "never-acted", "opens-daily"]
    # A day earlier none of them is too old, a day later those of the boundary are.
    assert expired(config, AS_OF - timedelta(days=1)) == []
    assert expired(config, AS_OF + timedelta(days=1)) == [
        "bought",
        "never-acted",
        "never-acted-new",
        "on-the-day",
        "opens-daily",
    ]


def test_what_is_told_are_counts(tmp_path: Path) -> None:
    write_log(tmp_path, THREE_YEARS)
    (tmp_path / "out").mkdir()
    people = plan_retention(config_of(tmp_path), AS_OF, executor=LocalExecutor()).people
    assert people is not None
    assert (people.users, people.never_acted, people.acts) == (8, 1, ("buy", "click"))
    assert repr(people) == "<Expired 3 of 8>"


def test_acts_that_are_named_are_the_only_ones(tmp_path: Path) -> None:
    write_log(tmp_path, [*THREE_YEARS, ("logs-in", "login", 5), ("logs-in", "click", 2_000)])
    assert "logs-in" not in expired(config_of(tmp_path))
    found = expired(config_of(tmp_path, acts=["buy"]))
    assert "logs-in" in found
    assert "clicked-later" in found
    assert "bought-later" not in found


@pytest.mark.parametrize(
    ("acts", "message"),
    [(["open"], "'open' is events.open"), (["send", "click"], "'send' is events.send"), (["clik"], "no event 'clik'")],
)
def test_opens_sends_and_unknown_types_are_no_acts(tmp_path: Path, acts: list[str], message: str) -> None:
    write_log(tmp_path, THREE_YEARS)
    with pytest.raises(ConfigError, match=message) as caught:
        expired(config_of(tmp_path, acts=acts))
    assert caught.value.code == "retention-acts"


def test_a_log_without_any_act_erases_nobody(tmp_path: Path) -> None:
    write_log(tmp_path, [("a", "open", 2_000), ("a", "send", 2_000)])
    with pytest.raises(ConfigError, match="no event type of the log is known to be an act") as caught:
        expired(config_of(tmp_path, {"click": None, "optional": ["purchase"]}))
    assert caught.value.code == "retention-acts"


def test_a_contact_of_before_the_first_event_begins_the_clock(tmp_path: Path) -> None:
    write_log(tmp_path, [("known-long", "open", 9), ("known-lately", "open", 9), ("x", "click", 9), ("y", "open", 9)])
    (tmp_path / "contacts").mkdir()
    rows = [("known-long", 1_096), ("known-long", 20), ("known-lately", 1_095), ("stranger", 3_000), ("x", 3_000)]
    frame = pl.DataFrame(
        {
            "user": [user for user, _ in rows],
            "since": [AS_OF - timedelta(days=days) for _, days in rows],
            "city": "Lyon",
        }
    )
    frame.write_parquet(tmp_path / "contacts" / "contacts.parquet")
    config = config_of(tmp_path)
    contacts = {"path": str(tmp_path / "contacts" / "*.parquet"), "user_id": "user"}
    with_history = Config.model_validate(config.model_dump() | {"contacts": {**contacts, "valid_from": "since"}})
    assert expired(with_history) == ["known-long"]
    frame.unique("user").drop("since").write_parquet(tmp_path / "contacts" / "contacts.parquet")
    assert expired(Config.model_validate(config.model_dump() | {"contacts": contacts})) == []


def test_the_clock_of_merged_contacts_begins_with_the_first_of_them(tmp_path: Path) -> None:
    write_log(tmp_path, [("a", "open", 9), ("z", "click", 9)])
    (tmp_path / "contacts").mkdir()
    since = {"user": ["a", "b"], "since": [AS_OF - timedelta(days=days) for days in (10, 2_000)], "city": "Lyon"}
    pl.DataFrame(since).write_parquet(tmp_path / "contacts" / "contacts.parquet")
    contacts = {"path": str(tmp_path / "contacts" / "*.parquet"), "user_id": "user", "valid_from": "since"}
    config = Config.model_validate(config_of(tmp_path).model_dump() | {"contacts": contacts})
    assert expired(config) == []
    write_decisions([Act("merge", ("a", "b"), AS_OF)], Path(config.out))
    assert expired(config) == ["a"]


@pytest.mark.parametrize("seed", range(3))
def test_the_clock_is_that_of_the_log_read_row_by_row(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    kinds = ("open", "send", "click", "buy", "page")
    rows = [(f"u{rng.randrange(60)}", rng.choice(kinds), rng.randrange(-3, 120)) for _ in range(300)]
    write_log(tmp_path, rows[:150], "a.parquet")
    write_log(tmp_path, rows[150:], "b.parquet")
    wanted = []
    for user in sorted({user for user, _, _ in rows}):
        acts = [days for name, kind, days in rows if name == user and kind in {"click", "buy"}]
        every = [days for name, _, days in rows if name == user]
        if (min(acts) if acts else max(every)) > 40:
            wanted.append(user)
    config = config_of(tmp_path, person_days=40)
    assert expired(config) == wanted
    fewer = Config.model_validate(config.model_dump() | {"execution": {"rows_per_task": 50}})
    assert expired(fewer) == wanted
