"""A small shop with one person whose data must show nowhere, and the ways in which a run of it can fail."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl

AS_OF = date(2026, 3, 1)
PLANTED = {
    "id": "zanzibar4711quetzal",
    "email": "perle.ornithorynque@plantation-exemple.fr",
    "phone": "+33698765432",
    "name": "Xanthoglosse",
    "address": "17 rue des Wisigoths",
    "link": "https://exemple.fr/compte?jeton=kumquat0815",
}
"""One value of each kind of personal data, all of one person."""

TOML = """\
out = "out"
timezone = "Europe/Paris"

[[sources]]
name = "shop"
path = "events"
[sources.columns]
user_id = "customer"
event_type = "kind"
event_time = "at"
event_id = "number"
amount = "total"
page = "page"

[contacts]
path = "contacts.parquet"
user_id = "customer"
columns = ["last_name", "email", "phone", "address", "age"]

[events]
purchase = "purchase"
open = "email_open"

[features]
windows = [30]

[exports]
email = "email"
last_name = "last_name"

[clusters]
enabled = false

[[points]]
name = "warmth"
[[points.rules]]
name = "buys"
event = "purchase"
points = 10

[[segments]]
name = "rich"
where = "purchase_amount_30d > 60 AND age > 20"

[execution]
rows_per_task = 400
"""

EVENTS = {
    "customer": pl.String,
    "kind": pl.String,
    "at": pl.Datetime("us", "UTC"),
    "number": pl.String,
    "total": pl.Float64,
    "page": pl.String,
}


def events(users: int = 60) -> pl.DataFrame:
    draw = random.Random("events")
    people = [PLANTED["id"], *(f"user{number:04d}" for number in range(users))]
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [
        (
            person,
            draw.choice(("purchase", "email_open", "page_view")),
            begin + timedelta(minutes=draw.randrange(58 * 1440)),
            f"{person}-{number}",
            round(draw.lognormvariate(3, 1), 2),
            PLANTED["link"] if person == PLANTED["id"] else "https://exemple.fr/",
        )
        for person in people
        for number in range(12)
    ]
    return pl.DataFrame(rows, EVENTS, orient="row")


def contacts(users: int = 60) -> pl.DataFrame:
    plain = [
        (f"user{number:04d}", f"Nom{number}", f"u{number}@exemple.fr", "+33100000000", "Paris", 20 + number % 50)
        for number in range(users)
    ]
    person = (PLANTED["id"], PLANTED["name"], PLANTED["email"], PLANTED["phone"], PLANTED["address"], 41)
    names = ["customer", "last_name", "email", "phone", "address", "age"]
    return pl.DataFrame([person, *plain], names, orient="row")


def write_shop(folder: Path) -> Path:
    (folder / "events").mkdir(parents=True)
    events().write_parquet(folder / "events" / "000.parquet")
    contacts().write_parquet(folder / "contacts.parquet")
    (folder / "tamis.toml").write_text(TOML, encoding="utf-8")
    return folder / "tamis.toml"


@dataclass(frozen=True)
class Failure:
    """A way to fail: what is changed in the folder, the command, and how it must end."""

    change: Callable[[Path], None]
    code: int
    command: tuple[str, ...] = ("run", "--as-of", AS_OF.isoformat())


def _config(old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / "tamis.toml").read_text(encoding="utf-8")
        assert old in text
        (folder / "tamis.toml").write_text(text.replace(old, new), encoding="utf-8")

    return change


def _events(change: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[Path], None]:
    def done(folder: Path) -> None:
        change(events()).write_parquet(folder / "events" / "000.parquet")

    return done


def _contacts(change: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[Path], None]:
    def done(folder: Path) -> None:
        change(contacts()).write_parquet(folder / "contacts.parquet")

    return done


def _both(*changes: Callable[[Path], None]) -> Callable[[Path], None]:
    def done(folder: Path) -> None:
        for change in changes:
            change(folder)

    return done


def _write(name: str, text: str | bytes) -> Callable[[Path], None]:
    content = text.encode() if isinstance(text, str) else text
    return lambda folder: (folder / name).write_bytes(content) and None


def _more(text: str) -> Callable[[Path], None]:
    def done(folder: Path) -> None:
        with (folder / "tamis.toml").open("a", encoding="utf-8") as file:
            file.write(text)

    return done


def _csv(text: str) -> Callable[[Path], None]:
    def done(folder: Path) -> None:
        (folder / "events" / "000.parquet").unlink()
        (folder / "events" / "000.csv").write_text("customer,kind,at,number,total,page\n" + text, encoding="utf-8")

    return done


def _json_lines(text: str) -> Callable[[Path], None]:
    def done(folder: Path) -> None:
        (folder / "events" / "000.parquet").unlink()
        (folder / "events" / "000.jsonl").write_text(text, encoding="utf-8")

    return done


def _links(rows: list[tuple[str, str]]) -> Callable[[Path], None]:
    def done(folder: Path) -> None:
        pl.DataFrame(rows, ["was", "now"], orient="row").write_parquet(folder / "links.parquet")

    return _both(done, _more('[identity]\npath = "links.parquet"\nanonymous_id = "was"\nuser_id = "now"\n'))


def _consent(column: str, value: str) -> Callable[[Path], None]:
    row = {
        "user_id": PLANTED["id"],
        "purpose": "profiling",
        "status": "granted",
        "at": datetime(2026, 1, 1, tzinfo=UTC),
        "form_version": "1",
        "source": PLANTED["email"],
    }

    def done(folder: Path) -> None:
        pl.DataFrame([row | {column: value}]).write_parquet(folder / "consents.parquet")

    return _both(done, _more('[consent]\npath = "consents.parquet"\n'))


def _cast(column: str, sql: str) -> Callable[[Path], None]:
    return _config(f'{column} = "{column}"', f"{column} = {{ sql = {json.dumps(sql)} }}")


def _damage(folder: Path) -> None:
    path = folder / "events" / "000.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 64] = bytes(64)
    path.write_bytes(bytes(content))


PERSON = pl.col("customer") == PLANTED["id"]
USAGE, REFUSED, INTEGRITY = 2, 3, 7

FAILURES = {
    "amounts that are text": Failure(_events(lambda rows: rows.with_columns(total=pl.lit(PLANTED["name"]))), REFUSED),
    "a cast of what does not fit": Failure(_cast("page", "CAST(CAST(page AS BIGINT) AS VARCHAR)"), REFUSED),
    "a cast of ids": Failure(
        _config('user_id = "customer"\nevent', 'user_id = { sql = "CAST(customer AS BIGINT)" }\nevent'), REFUSED
    ),
    "a time in text": Failure(_events(lambda rows: rows.with_columns(at=pl.lit(PLANTED["address"]))), REFUSED),
    "a strict time": Failure(
        _both(
            _events(lambda rows: rows.with_columns(at=pl.lit(PLANTED["address"]))),
            _config('event_time = "at"', "event_time = { sql = \"STRPTIME(at, '%Y-%m-%d')\" }"),
        ),
        REFUSED,
    ),
    "a condition that fails": Failure(
        _config(
            'page = "page"\n',
            'page = "page"\n\n[sources.columns.item_id]\nsql = "CAST(CAST(customer AS BIGINT) AS VARCHAR)"\n',
        ),
        REFUSED,
    ),
    "too many rejects": Failure(
        _events(
            lambda rows: rows.with_columns(kind=pl.when(PERSON | (pl.col("total") > 10)).then(None).otherwise("kind"))
        ),
        REFUSED,
    ),
    "infinite amounts": Failure(_events(lambda rows: rows.with_columns(total=pl.lit(float("inf")))), REFUSED),
    "a missing column": Failure(_events(lambda rows: rows.drop("at")), REFUSED),
    "a damaged file": Failure(_damage, REFUSED),
    "no Parquet at all": Failure(_write("events/001.parquet", PLANTED["email"] * 20), REFUSED),
    "two kinds of ids": Failure(
        _both(
            lambda folder: pl.DataFrame(
                {
                    "customer": [1],
                    "kind": ["purchase"],
                    "at": [datetime(2026, 1, 1, tzinfo=UTC)],
                    "number": ["1"],
                    "total": [1.0],
                    "page": [PLANTED["link"]],
                }
            ).write_parquet(folder / "events" / "001.parquet"),
        ),
        REFUSED,
    ),
    "a ragged CSV": Failure(_csv(f"{PLANTED['id']},purchase,{PLANTED['email']}\n{PLANTED['name']}\n"), REFUSED),
    "a CSV with other values": Failure(
        _csv(f"{PLANTED['id']},purchase,{PLANTED['address']},{PLANTED['phone']},{PLANTED['name']},{PLANTED['link']}\n"),
        REFUSED,
    ),
    "broken JSON lines": Failure(
        _json_lines(json.dumps({"customer": PLANTED["id"]}) + '\n{"customer": "' + PLANTED["email"] + "\n"), REFUSED
    ),
    "contacts twice": Failure(_contacts(lambda rows: pl.concat([rows, rows])), REFUSED),
    "contacts without the column": Failure(_contacts(lambda rows: rows.drop("email")), REFUSED),
    "contacts of strangers": Failure(
        _contacts(lambda rows: rows.with_columns(customer=pl.lit(PLANTED["email"]) + pl.col("customer"))), REFUSED
    ),
    "contacts that are no Parquet": Failure(_write("contacts.parquet", PLANTED["email"]), REFUSED),
    "links in a circle": Failure(_links([(PLANTED["id"], "user0001"), ("user0001", PLANTED["id"])]), REFUSED),
    "a rule of another type": Failure(_config("age > 20", "last_name > 20"), USAGE),
    "a rule of an unknown column": Failure(_config("age > 20", "agge > 20"), USAGE),
    "a list of strangers": Failure(
        _both(
            _write("vip.txt", f"{PLANTED['email']}\n"),
            _more('[[segments]]\nname = "vip"\nlist = "vip.txt"\nfrozen_on = 2026-01-01\n'),
        ),
        USAGE,
    ),
    "a list in another encoding": Failure(
        _both(
            _write("vip.txt", PLANTED["name"].encode("utf-16")),
            _more('[[segments]]\nname = "vip"\nlist = "vip.txt"\nfrozen_on = 2026-01-01\n'),
        ),
        USAGE,
    ),
    "excluded ids of another type": Failure(
        _both(
            _events(lambda rows: rows.with_columns(customer=pl.lit(1, pl.Int64))),
            _more(f'[exclude]\nuser_ids = ["{PLANTED["id"]}"]\n'),
        ),
        USAGE,
    ),
    "an unknown purpose": Failure(_consent("purpose", "surveillance"), REFUSED),
    "a status that says nothing": Failure(_consent("status", "perhaps"), REFUSED),
    "consents at no time": Failure(_consent("at", PLANTED["address"]), REFUSED),
    "a type that no event has": Failure(_config('open = "email_open"', 'open = "email_opened"'), USAGE),
    "a day before the log": Failure(lambda folder: None, REFUSED, ("run", "--as-of", "2025-01-01")),
    "a damaged index": Failure(lambda folder: None, INTEGRITY, ("verify",)),
    "an output that is a file": Failure(_write("out", PLANTED["name"]), USAGE),
}
