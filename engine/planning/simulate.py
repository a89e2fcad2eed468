"""Data that is not there: a log of so many users and events, and machines to work on it, from `key=value` pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

from engine.config import Config
from engine.errors import ConfigError
from engine.features.windows import day_number
from engine.planning.census import Census, StaleUnit
from engine.planning.reading import DAILY_BYTES, files_of_unit
from engine.planning.schedule import Workers
from engine.rollups.index import Index
from engine.rollups.rolling import Found
from engine.rollups.units import Unit
from engine.suggest import did_you_mean

GIB: Final = 1 << 30
REQUESTS: Final = 5_500.0
"""Reads per second that Amazon S3 promises for one prefix; others are of the same order."""

DEFAULTS: Final[Mapping[str, float]] = {
    "users": 1_000_000,
    "events": 50_000_000,
    "days": 365,
    "new_days": 0,
    "event_bytes": 20,
    "partials": 0.7,
    "contacts": -1,
    "nodes": 1,
    "cpus": 16,
    "memory": 64,
    "requests": REQUESTS,
}
"""Keys of a simulation: users; events of all days; days, each a unit of its own; `new_days` of them that are not rolled
up yet (0: all of them); bytes of an event in its file; rows of the store per event; contacts (-1: as many as users);
nodes, and processors and GiB of memory of each; requests per second that the storage answers."""

_MOST: Final[Mapping[str, float]] = {
    "users": 1e11,
    "events": 1e14,
    "days": 36_500,
    "new_days": 36_500,
    "event_bytes": 1e6,
    "partials": 1,
    "contacts": 1e11,
    "nodes": 100_000,
    "cpus": 4_096,
    "memory": 65_536,
    "requests": 1e9,
}
_MAY_BE_ZERO: Final = {"new_days", "contacts"}
_COUNTED: Final = {"users", "events", "days", "new_days", "contacts", "nodes", "cpus"}


@dataclass(frozen=True)
class Simulated:
    """What is simulated: a value for every key of `DEFAULTS`; `given` are those that were asked for."""

    values: Mapping[str, float]
    given: frozenset[str]

    def whole(self, name: str) -> int:
        """A value as a whole number."""
        return round(self.values[name])


def parse_simulation(text: str) -> Simulated:
    """Read `users=1e9,events=1e11,nodes=200`; spaces separate as well as commas.

    Raises:
        ConfigError: Keys that do not exist, or values that cannot be; all of them at once.
    """
    values = dict(DEFAULTS)
    given: set[str] = set()
    problems: list[str] = []
    for pair in text.replace(",", " ").split():
        key, equals, value = pair.partition("=")
        if key not in DEFAULTS:
            problems.append(f"  {key!r}: no such key{did_you_mean(key, DEFAULTS)}")
        elif not equals or (number := _number(value)) is None:
            problems.append(f"  {key}: expected a number, got {value!r}")
        elif number > _MOST[key] or number < 0 or (number == 0 and key not in _MAY_BE_ZERO):
            least = "0" if key in _MAY_BE_ZERO else "more than 0"
            problems.append(f"  {key}: expected {least} to {_MOST[key]:,g}, got {value}")
        elif key in _COUNTED and not number.is_integer():
            problems.append(f"  {key}: expected a whole number, got {value}")
        elif key in given:
            problems.append(f"  {key}: given twice")
        else:
            values[key] = number
            given.add(key)
    if not problems:
        problems = _impossible(values)
    if problems:
        raise ConfigError(
            "--simulate cannot be used\n" + "\n".join(problems),
            code="plan-simulate",
            hint=f"Keys: {', '.join(DEFAULTS)}; such as --simulate users=1e9,events=1e11,nodes=200.",
        )
    return Simulated(values, frozenset(given))


def _number(text: str) -> float | None:
    try:
        number = float(text.replace("_", ""))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _impossible(values: Mapping[str, float]) -> list[str]:
    problems = []
    if values["users"] > values["events"]:
        problems.append(f"  users: {values['users']:,.0f} users cannot have {values['events']:,.0f} events")
    if values["new_days"] > values["days"]:
        problems.append(f"  new_days: {values['new_days']:,.0f} of {values['days']:,.0f} days")
    if values["days"] > values["events"]:
        problems.append(f"  days: {values['events']:,.0f} events cannot fill {values['days']:,.0f} days")
    return problems


def workers_of(simulated: Simulated, config: Config) -> Workers:
    """The machines of a simulation; a single one without Ray works as `tamis run` does there."""
    nodes, cpus = simulated.whole("nodes"), simulated.whole("cpus")
    local = nodes == 1 and config.execution.executor == "local"
    threads = cpus if local else config.execution.cpus_per_task
    return Workers(nodes, cpus, simulated.values["memory"] * GIB, threads, local=local)


def simulated_census(config: Config, simulated: Simulated, as_of: date) -> Census:
    """The census of a log that is not there: one unit per day, of equal size, the types those of the configuration."""
    events, days = simulated.whole("events"), simulated.whole("days")
    new = simulated.whole("new_days") or days
    source = config.sources[0].name
    rows = -(-events // days)
    size = round(rows * simulated.values["event_bytes"])
    found = Found(Unit(0, "", ()), "")
    partials = round(events * simulated.values["partials"])
    stored = days - new
    users = simulated.whole("users")
    contacts = simulated.whole("contacts") if simulated.values["contacts"] >= 0 else users
    roles = (config.events.purchase, config.events.send, config.events.open, config.events.click)
    types = config.events.types or tuple(sorted({name for name in roles if name is not None} or {"event"}))
    census = Census(
        files=days,
        bytes=size * days,
        rows=rows * days,
        units=days,
        stale=tuple(StaleUnit(source, str(day), 1, size, rows, found) for day in range(new)),
        gone=0,
        users=users,
        counted="given",
        partials=partials,
        daily_files=0,
        daily_cuts={},
        store_files=0,
        store_bytes=0,
        new_partials=round(partials * new / days),
        contacts=0 if config.contacts is None else contacts,
        contact_bytes=0 if config.contacts is None else contacts * 20,
        consents=0 if config.consent is None else users,
        consent_bytes=0 if config.consent is None else users * 20,
        asks=config.consent is not None or bool(config.privacy.opposed),
        types=types,
        priced=frozenset({config.events.purchase} if config.events.purchase else set()),
        attributes={},
        user_dtype="",
        first_day=day_number(as_of) - days,
        last_day=day_number(as_of) - 1,
        exact=True,
        found={},
        index=Index(),
    )
    if not stored:
        return census
    each = files_of_unit(config, rows)
    files, cuts = stored * each, {each: stored}
    old = partials - census.new_partials
    size = round(old * DAILY_BYTES)
    return replace(census, daily_files=files, daily_cuts=cuts, store_files=2 * files, store_bytes=size)
