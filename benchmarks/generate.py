"""Deterministic e-mail and shop log of any size, as daily Parquet files.

`python -m benchmarks.generate --users 1000000 --events 50000000 --days 100 --out log` writes

    log/events/event_date=YYYY-MM-DD/part-0.parquet    one row per event that arrived on that day (UTC)
    log/contacts.parquet                               one row per user
    log/log.json                                       what was asked for and what came out; written last

The folder's date is the day of arrival: late rows lie in a later folder than their `event_time`.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from benchmarks.behaviour import DAY, EVENT_TYPES, REACTIONS_PER_SEND, mail_rows, visit_rows
from benchmarks.population import contacts, draw_population, first_mood, next_mood, user_ids

if TYPE_CHECKING:
    from benchmarks.population import Floats, Integers

DEFAULT_END = date(2026, 1, 1)
EMAIL_SHARE = 0.4
LATE_SHARE = 0.005
REPEAT_SHARE = 0.005
CAMPAIGN_WEEKDAYS = (1, 3, 6)
WEEKDAY_TRAFFIC = (1.0, 0.95, 0.95, 1.0, 1.05, 1.25, 1.3)
# An odd factor permutes the 63-bit integers: unique ids that do not compress or hash better than real ones.
ID_FACTOR = 0x5851F42D4C957F2D
ID_MASK = 2**63 - 1


@dataclass(frozen=True)
class GeneratedLog:
    """What was asked for and what was written.

    `events` are the rows asked for, `rows` those written, `late` and `repeats` the parts of them that arrived on a
    later day than they happened and that repeat another row. `end` is exclusive: the date to score as of.
    """

    users: int
    events: int
    days: int
    end: str
    seed: int
    user_id: str
    rows: int
    late: int
    repeats: int
    rows_by_type: dict[str, int]


def with_faults(rng: np.random.Generator, rows: pl.DataFrame) -> pl.DataFrame:
    """Adds `arrival` (day from the start), 1–3 days late for some, and exact repeats that come up to a day after."""
    late = rng.random(rows.height) < LATE_SHARE
    arrival = rows["time"].to_numpy() // DAY + np.where(late, rng.integers(1, 4, rows.height), 0)
    first = rows.with_columns(arrival=arrival, repeat=False)
    again = first[np.flatnonzero(rng.random(rows.height) < REPEAT_SHARE)]
    after = again["arrival"].to_numpy() + rng.integers(0, 2, again.height)
    return pl.concat([first, again.with_columns(arrival=after, repeat=True)])


def day_table(rows: pl.DataFrame, ids: pl.Series, start: date) -> pl.DataFrame:
    """The table of one day's file: grain event, sorted by time; `amount` in major units, on purchases alone."""
    rows = rows.sort("time", "id", "repeat")
    origin = (start - date(1970, 1, 1)) // timedelta(days=1) * DAY
    campaign = pl.format("c{}", pl.col("campaign").cast(pl.String).str.zfill(4))
    return rows.select(
        event_id="id",
        user_id=ids.gather(rows["user"]),
        event_type=pl.Series(EVENT_TYPES).gather(rows["kind"]),
        event_time=(pl.col("time") + origin).cast(pl.Datetime("us", "UTC")),
        amount=pl.when(pl.col("minor") >= 0).then(pl.col("minor") / 100.0),
        campaign_id=pl.when(pl.col("campaign") >= 0).then(campaign),
    )


def _plan(events: int, start: date, days: int) -> tuple[Integers, Floats]:
    weekdays = np.array([(start + timedelta(days=day)).weekday() for day in range(days)])
    campaign_days = np.isin(weekdays, CAMPAIGN_WEEKDAYS).astype(np.float64)
    emails = EMAIL_SHARE * events * campaign_days / max(1.0, campaign_days.sum())
    traffic = np.array(WEEKDAY_TRAFFIC)[weekdays]
    visits = (events - emails.sum()) * traffic / traffic.sum()
    return np.rint(emails / (1 + REACTIONS_PER_SEND)).astype(np.int64), np.cumsum(emails + visits)


def _write_day(out: Path, day: date, table: pl.DataFrame) -> None:
    folder = out / "events" / f"event_date={day.isoformat()}"
    folder.mkdir()
    table.write_parquet(folder / "part-0.parquet", compression="zstd", row_group_size=250_000)


def generate(
    out: Path, *, users: int, events: int, days: int, end: date = DEFAULT_END, seed: int = 1, user_id: str = "string"
) -> GeneratedLog:
    """Write a log and say what was written; the same arguments give the same bytes (one platform, one set of versions).

    Days are made one after the other, so memory grows with `users` and with `events / days` only.

    Args:
        out: Folder to write to; it must not hold a log yet.
        users: Rows of the contacts; the least active of them may have no event.
        events: Rows wanted over all files, repeats included; the log comes within 2 % of it.
        days: Length of the log, `[end − days, end)`.
        end: The day after the last one; what would happen or arrive later is left out.
        seed: Of everything random.
        user_id: `"string"` (`u0001234`) or `"int"`.

    Raises:
        FileExistsError: `out` holds events already.
    """
    start = end - timedelta(days=days)
    (out / "events").mkdir(parents=True)
    rng = np.random.default_rng(seed)
    people = draw_population(users, days, rng)
    ids = user_ids(users, user_id)
    contacts(people, ids, start, rng).write_parquet(out / "contacts.parquet", compression="zstd")

    mood = first_mood(users, rng)
    sends, wanted = _plan(events, start, days)
    pending: list[pl.DataFrame] = []
    campaigns = numbered = made = written = late = repeats = 0
    by_type = np.zeros(len(EVENT_TYPES), dtype=np.int64)
    for day in range(days):
        emails = mail_rows(rng, people, mood, day, sends=int(sends[day]), campaign=campaigns)
        campaigns += len(emails)
        # Visits fill what is missing to the plan, so that rounding and chance do not add up over the days.
        missing = (wanted[day] - made) / (1 + REPEAT_SHARE) - sum(map(len, emails))
        rows = pl.concat([*emails, visit_rows(rng, people, mood, day, events=max(0, int(missing)))])
        numbers = np.arange(numbered, numbered + rows.height, dtype=np.uint64)
        rows = rows.with_columns(id=((numbers * np.uint64(ID_FACTOR)) & np.uint64(ID_MASK)).astype(np.int64))
        numbered += rows.height
        arriving = with_faults(rng, rows).filter(pl.col("arrival") < days)
        made += arriving.height

        pending.append(arriving)
        today = pl.concat([part.filter(pl.col("arrival") == day) for part in pending])
        pending = [left for part in pending if (left := part.filter(pl.col("arrival") > day)).height]
        _write_day(out, start + timedelta(days=day), day_table(today, ids, start))
        written += today.height
        late += today.filter(pl.col("time") < day * DAY).height
        repeats += int(today["repeat"].sum())
        by_type += np.bincount(today["kind"].to_numpy(), minlength=len(EVENT_TYPES))
        mood = next_mood(mood, rng)

    log = GeneratedLog(
        users=users,
        events=events,
        days=days,
        end=end.isoformat(),
        seed=seed,
        user_id=user_id,
        rows=written,
        late=late,
        repeats=repeats,
        rows_by_type=dict(zip(EVENT_TYPES, by_type.tolist(), strict=True)),
    )
    (out / "log.json").write_text(json.dumps(asdict(log), indent=2) + "\n", encoding="utf-8")
    return log


def main(arguments: list[str] | None = None) -> None:
    """Command line of `generate`; prints what was written as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generate", description="Write a synthetic event log.")
    parser.add_argument("--users", type=int, required=True)
    parser.add_argument("--events", type=int, required=True, help="rows over all files, repeats included")
    parser.add_argument("--days", type=int, required=True)
    parser.add_argument("--end", type=date.fromisoformat, default=DEFAULT_END, help="day after the last one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--user-id", choices=("string", "int"), default="string")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    given = parser.parse_args(arguments)
    log = generate(**vars(given))
    sys.stdout.write(json.dumps(asdict(log), indent=2) + "\n")


if __name__ == "__main__":
    main()
