"""Apply what the configuration says of retention: find what is too old, erase the people, remove the rest, tell it."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from engine.config import Config
from engine.erasure.first import finish_erasures_first
from engine.errors import ConfigError
from engine.execution.protocol import Executor
from engine.progress import Progress
from engine.retention.kept import Old, find_old, remove_old
from engine.retention.people import Expired, find_expired
from engine.tables.durable import durable_json
from engine.tables.workspace import workspace

RECEIPT_FORMAT: Final = 1
REASON: Final = "retention"
_RUN: Final = "retention"


@dataclass(frozen=True)
class Plan:
    """What is older than its period.

    Attributes:
        as_of: The day from which it is counted.
        people: Users whose clock has run out; None when no period is set for them.
        old: Everything else.
    """

    as_of: date
    people: Expired | None
    old: Old

    @property
    def is_empty(self) -> bool:
        """Whether nothing goes."""
        nobody = self.people is None or not self.people.ids
        return nobody and self.old.is_empty


@dataclass(frozen=True)
class Retained:
    """What was done: the plan, and the receipts (paths relative to the output root), those of erasures first."""

    plan: Plan
    receipts: tuple[str, ...] = field(default=())


def plan_retention(config: Config, as_of: date, *, executor: Executor, progress: Progress | None = None) -> Plan:
    """What is older than its period. The rollup store is brought up to date with the log, as by every run.

    Args:
        config: The configuration.
        as_of: The day from which ages of people and exports are counted.
        executor: Where the log is read.
        progress: Told of each finished task.

    Raises:
        ConfigError: No period is set, or no event type is an act of the person.
        DataError: The log cannot be read.
        ConflictError: Another run is writing to the output.
        IntegrityError: A manifest or the list of exports is damaged.
    """
    config = config.model_copy(update={"out": str(Path(config.out).absolute())})
    wanted, out = config.retention, Path(config.out)
    if not (wanted.tables or wanted.person_days or wanted.runs_days or wanted.exports_days):
        raise ConfigError(
            "no period is set: nothing is ever too old",
            code="retention-none",
            hint="Set person_days, tables, runs_days or exports_days in [retention].",
        )
    if not out.is_dir():
        return Plan(as_of, None, Old())
    finish_erasures_first(config)
    with workspace(out, _RUN) as work:
        people = None
        if wanted.person_days is not None:
            people = find_expired(config, as_of, work=work, executor=executor, progress=progress)
        return Plan(as_of, people, find_old(out, wanted, as_of))


def apply_retention(config: Config, plan: Plan, *, tell: Callable[[str], None] = lambda _: None) -> Retained:
    """Erase the people of a plan and remove the rest; after a kill, plan and apply again.

    Args:
        config: The configuration.
        plan: What `plan_retention` has just found.
        tell: Given a line to read at each step.

    Raises:
        ConfigError: There is no key, and people are to be erased.
        TamisError: As `engine.erasure.erase.erase_people`.
    """
    config = config.model_copy(update={"out": str(Path(config.out).absolute())})
    out = Path(config.out)
    if plan.is_empty:
        return Retained(plan)
    receipts: tuple[str, ...] = ()
    erased = 0
    if plan.people is not None and plan.people.ids:
        from engine.erasure.erase import erase_people

        done = erase_people(config, plan.people.ids, REASON, tell=tell)
        receipts, erased = tuple(done.receipts), done.planned.known
    with workspace(out, _RUN):
        old = find_old(out, config.retention, plan.as_of)
        remove_old(config, old)
    now = datetime.now(UTC)
    name = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    path = out / "_privacy" / "receipts" / f"{name}.json"
    receipt = {
        "format": RECEIPT_FORMAT,
        "receipt": name,
        "kind": "retention",
        "at": now.replace(microsecond=0).isoformat(),
        "periods": config.retention.model_dump(mode="json"),
        **described(plan),
        "people_erased": erased,
        "erasures": list(receipts),
    }
    durable_json(receipt, path)
    return Retained(plan, (*receipts, path.relative_to(out).as_posix()))


def described(plan: Plan) -> dict[str, Any]:
    """A plan as values that JSON has: counts, dates and names of files, and nobody."""
    tables: defaultdict[str, list[Any]] = defaultdict(list)
    for one in plan.old.tables:
        tables[one.table].append(one)
    people = plan.people
    return {
        "as_of": plan.as_of.isoformat(),
        "people": None
        if people is None
        else {
            "users": people.users,
            "expired": len(people.ids),
            "never_acted": people.never_acted,
            "acts": list(people.acts),
        },
        "tables": {
            name: {
                "dates": [one.as_of.isoformat() for one in old],
                "rows": sum(one.rows for one in old),
                "files": sum(one.files for one in old),
                "bytes": sum(one.bytes for one in old),
            }
            for name, old in sorted(tables.items())
        },
        "begun": len(plan.old.begun),
        "records": len(plan.old.records),
        "exports": {
            "files": len(plan.old.exports),
            "rows": sum(one.rows for one in plan.old.exports),
            "exports": sorted({one.export for one in plan.old.exports}),
        },
        "notes": list(plan.old.notes),
    }
