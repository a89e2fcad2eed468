"""The log of an e-mail programme with a shop, as `configs/email.toml` reads it: 120 contacts, 400 days."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl

AS_OF = date(2026, 3, 1)
CONTACTS = 120
DAYS = 400
PARIS = ZoneInfo("Europe/Paris")
_MIDNIGHT = datetime(AS_OF.year, AS_OF.month, AS_OF.day, tzinfo=PARIS)
_PAGES = ("produits", "accueil", "blog")
EVENTS = {
    "event_id": pl.String,
    "contact_id": pl.String,
    "event": pl.String,
    "at": pl.Datetime("us", "UTC"),
    "amount": pl.Float64,
    "quantity": pl.Int64,
    "item": pl.String,
    "page": pl.String,
    "channel": pl.String,
}
PEOPLE = {
    "contact_id": pl.String,
    "region": pl.String,
    "age": pl.Int64,
    "lifestyle": pl.String,
    "sector": pl.String,
    "function": pl.String,
    "headcount": pl.Int64,
    "turnover": pl.Float64,
    "maturity": pl.String,
}


def events(seed: int = 1) -> pl.DataFrame:
    """Every contact has a rhythm of its own: some stopped long ago, some only came last week."""
    rng = random.Random(f"events {seed}")
    rows = [event for number in range(CONTACTS) for event in _of_contact(rng, f"c{number:03d}")]
    # The first instant of the day of the run belongs to the future, the last one before it to the past.
    rows += [_event(f"c{number:03d}", "email_opened", _MIDNIGHT) for number in range(0, CONTACTS, 7)]
    rows += [
        _event(f"c{number:03d}", "page_view", _MIDNIGHT - timedelta(microseconds=1), page="produits")
        for number in range(0, CONTACTS, 11)
    ]
    numbered = [(f"e{number:06d}", *row) for number, row in enumerate(rows)]
    return pl.DataFrame(numbered, EVENTS, orient="row")


def contacts(seed: int = 1) -> pl.DataFrame:
    """A fifth of the values is missing; `Île-de-France` stands in both Unicode forms."""
    rng = random.Random(f"contacts {seed}")

    def some(values: list[str | int | float]) -> str | int | float | None:
        return None if rng.random() < 0.2 else rng.choice(values)

    rows = [
        (
            f"c{number:03d}",
            some(["Île-de-France", "I\u0302le-de-France", "Bretagne", "Grand Est"]),
            some(list(range(16, 80))),
            some(["urbain", "classique", "sportif"]),
            some(["industrie", "services"]),
            some(["direction", "DSI", "achat"]),
            some([5, 40, 200, 251, 900]),
            some([4.0, 120.5, 1000.0]),
            some(["innovant", "intermédiaire", "traditionnel"]),
        )
        for number in range(CONTACTS)
    ]
    return pl.DataFrame(rows, PEOPLE, orient="row")


def write_log(folder: Path) -> Path:
    """The files where the overrides of `settings` expect them; returns `folder`."""
    (folder / "events").mkdir(parents=True, exist_ok=True)
    log = events()
    half = log.height // 2
    log[:half].write_parquet(folder / "events" / "a.parquet")
    log[half:].write_parquet(folder / "events" / "b.parquet")
    contacts().write_parquet(folder / "contacts.parquet")
    return folder


def settings(folder: Path) -> list[tuple[str, object]]:
    """Overrides that make `configs/email.toml` read the log of `write_log` and write beside it."""
    return [
        ("out", str(folder / "out")),
        ("sources.log.path", str(folder / "events")),
        ("contacts.path", str(folder / "contacts.parquet")),
    ]


_Row = tuple[str, str, datetime, float | None, int | None, str | None, str | None, str | None]


def _event(
    contact: str,
    event: str,
    at: datetime,
    *,
    amount: float | None = None,
    item: str | None = None,
    page: str | None = None,
    channel: str | None = None,
) -> _Row:
    return contact, event, at.astimezone(UTC), amount, None if item is None else 1, item, page, channel


def _of_contact(rng: random.Random, contact: str) -> list[_Row]:
    begins, ends = rng.choice([(400, 0), (400, 200), (400, 31), (400, 29), (90, 0), (20, 0), (6, 0), (300, 6)])
    rate, buys = rng.choice([0.02, 0.2, 1.5]), rng.choice([0.0, 0.02, 0.15])
    rows: list[_Row] = []
    for ago in range(begins, ends, -1):
        day = _MIDNIGHT - timedelta(days=ago)

        def moment(day: datetime = day) -> datetime:
            return day + timedelta(seconds=rng.randrange(86_400))

        if rng.random() < 0.15:
            sent = moment()
            rows.append(_event(contact, "email_sent", sent))
            if rng.random() < min(0.9, rate):
                rows.append(_event(contact, "email_opened", sent + timedelta(minutes=rng.randrange(1, 300))))
                if rng.random() < 0.3:
                    channel = rng.choice(["email", "linkedin"])
                    rows.append(_event(contact, "link_clicked", sent + timedelta(hours=5), channel=channel))
        visits = rng.choices([0, 1, 3], [1, rate, rate])[0]
        rows += [_event(contact, "page_view", moment(), page=rng.choice(_PAGES)) for _ in range(visits)]
        if rng.random() < buys:
            item, added = rng.choice(["a", "b", "c"]), moment()
            rows.append(_event(contact, "cart_add", added, item=item, amount=20.0))
            fate = rng.random()
            if fate < 0.4:
                amount = rng.choice([12.5, 49.99, 50.0, 80.0, 250.0])
                rows.append(_event(contact, "purchase", added + timedelta(minutes=30), amount=amount))
            elif fate < 0.6:
                rows.append(_event(contact, "cart_remove", added + timedelta(minutes=10), item=item, amount=20.0))
        if rng.random() < 0.01:
            rows.append(_event(contact, rng.choice(["comment", "share", "webinar", "unsubscribed"]), moment()))
    if rng.random() < 0.15:
        # Who comments all the time, bought often and opens all mail is worth more than 30 points.
        talk = [_MIDNIGHT - timedelta(days=rng.randrange(ends + 1, begins + 1), hours=-7) for _ in range(14)]
        rows += [_event(contact, rng.choice(["comment", "share"]), at) for at in talk]
    # Nobody is without any event, and every type is there.
    rows.append(_event(contact, "email_sent", _MIDNIGHT - timedelta(days=begins)))
    return [row for row in rows if row[2] <= _MIDNIGHT]
