"""The small log with a log of consents: opens and sends count for those alone who agreed to it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from tests.samples import TOML, contacts, mail, shop, write_files

USERS = 90
EVERYBODY = range(1, USERS + 1)
CONSENT = """
[consent]
path = "consents.parquet"
[consent.inputs]
open_tracking = ["email_open"]
"""
MORE = """
[[targets]]
name = "opens"
event = "email_open"
horizon_days = 14

[[segments]]
name = "opened"
where = "event_count('email_open', 20) >= 1"
"""
ACCOUNTS = """
[accounts]
column = "region"
"""
_LOG = {
    "user_id": pl.Int64,
    "purpose": pl.String,
    "status": pl.String,
    "at": pl.Datetime("us", "UTC"),
    "form_version": pl.String,
    "source": pl.String,
}


def consents(lacking: Mapping[str, Collection[int]]) -> pl.DataFrame:
    """A log in which everybody agreed to everything that is named, but for some users."""
    at = datetime(2025, 1, 1, tzinfo=UTC)
    rows = [
        (user, purpose, "granted", at, "v1", "form")
        for purpose in ("profiling", *(name for name in lacking if name != "profiling"))
        for user in EVERYBODY
        if user not in lacking.get(purpose, ())
    ]
    return pl.DataFrame(rows, _LOG, orient="row")


def write_consented(
    folder: Path, lacking: Mapping[str, Collection[int]], toml: str = CONSENT, without: Collection[int] = ()
) -> Path:
    """The sample with consents; returns its configuration file.

    Args:
        folder: A folder that is not there.
        lacking: By purpose, the users who did not agree to it.
        toml: What stands behind the configuration of the sample.
        without: Users whose opens are not in the log.
    """
    seen = mail(USERS)
    write_files(folder / "shop", [shop(USERS)])
    write_files(
        folder / "mail", [seen.filter((pl.col("kind") != "email_open") | ~pl.col("customer").is_in(list(without)))]
    )
    contacts(USERS).write_parquet(folder / "contacts.parquet")
    consents(lacking).write_parquet(folder / "consents.parquet")
    head = TOML.replace("windows = [7, 30]", 'windows = [7, 30]\nfamilies = ["funnel", "hours"]')
    head = head.replace("trees = 8", "trees = 4").replace("k_max = 3", "k_max = 2")
    (folder / "tamis.toml").write_text(head + MORE + toml, encoding="utf-8")
    return folder / "tamis.toml"
