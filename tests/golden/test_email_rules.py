from __future__ import annotations

import hashlib
import math
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.config_file import load_config
from engine.execution.local import LocalExecutor
from engine.pipeline import run
from tests.email_sample import AS_OF, PARIS, contacts, events, settings, write_log

CONFIG = Path(__file__).parents[2] / "configs" / "email.toml"
MIDNIGHT = datetime(AS_OF.year, AS_OF.month, AS_OF.day, tzinfo=PARIS)


@dataclass(frozen=True)
class Event:
    kind: str
    at: datetime
    ago: int
    """Days from its day to the day of the run: 1 is the day before."""
    amount: float
    item: str
    page: str
    channel: str


@dataclass(frozen=True)
class Person:
    """What a plain loop over the events says of one contact."""

    events: list[Event]
    is_: dict[str, Any]

    def count(self, kind: str, days: int = 10_000, **wanted: str) -> int:
        return sum(
            event.kind == kind
            and event.ago <= days
            and all(getattr(event, name) == value for name, value in wanted.items())
            for event in self.events
        )

    @property
    def last_seen(self) -> int:
        return min(event.ago for event in self.events)

    @property
    def engagement(self) -> float:
        weights = {"email_opened": 10, "link_clicked": 20, "cart_add": 30, "purchase": 50}
        points = sum(weight * self.count(kind, 90) for kind, weight in weights.items())
        return round(min(100.0, 100 * math.log1p(points) / math.log1p(600)), 2)

    @property
    def spent(self) -> float:
        return round(sum(event.amount for event in self.events if event.kind == "purchase"), 2)

    def no_purchase_since_add(self, days: int) -> bool:
        adds = [event.at for event in self.events if event.kind == "cart_add" and event.ago <= days]
        return bool(adds) and not any(event.kind == "purchase" and event.at >= max(adds) for event in self.events)

    @property
    def left_in_cart(self) -> int:
        cart: Counter[str] = Counter()
        for event in self.events:
            if event.kind == "cart_add":
                cart[event.item] += 1
            elif event.kind == "cart_remove":
                cart[event.item] = max(0, cart[event.item] - 1)
            elif event.kind == "purchase":
                cart.clear()
        return sum(cart.values())

    @property
    def open_rate_30d(self) -> float:
        sent = self.count("email_sent", 30)
        return self.count("email_opened", 30) / sent if sent else 0.0


@cache
def people() -> dict[str, Person]:
    found: dict[str, Person] = {}
    attributes = {
        row["contact_id"]: {
            name: unicodedata.normalize("NFC", value) if isinstance(value, str) else value
            for name, value in row.items()
        }
        for row in contacts().iter_rows(named=True)
    }
    for row in events().sort("at", "event_id").iter_rows(named=True):
        at = row["at"].astimezone(PARIS)
        if at >= MIDNIGHT:
            continue
        ago = (AS_OF - at.date()).days
        texts = (row["item"] or "", row["page"] or "", row["channel"] or "")
        person = found.setdefault(row["contact_id"], Person([], attributes[row["contact_id"]]))
        person.events.append(Event(row["event"], at, ago, row["amount"] or 0.0, *texts))
    return found


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_log(tmp_path_factory.mktemp("email"))
    config = load_config(CONFIG, overrides=settings(folder)).config
    run(config, AS_OF, executor=LocalExecutor(threads=2))
    return folder / "out"


@pytest.fixture(scope="module")
def members(published: Path) -> dict[str, set[str]]:
    table = pl.read_parquet(f"{published}/memberships/as_of={AS_OF}/*.parquet", hive_partitioning=False)
    return {str(name): set(users["user_id"]) for (name,), users in table.partition_by("segment", as_dict=True).items()}


INTERACTIONS = ("email_opened", "link_clicked", "page_view", "cart_add", "comment", "share")


def is_buyer(p: Person) -> bool:
    """Regular or occasional: bought in the last 182 days."""
    return p.count("purchase", 181) > 0 or regular(p)


def regular(p: Person) -> bool:
    return len({event.ago for event in p.events if event.kind == "purchase" and event.ago <= 182}) >= 3


def prospect(p: Person) -> str:
    if p.count("purchase"):
        return "customer"
    return "hot_prospect" if sum(p.count(kind, 7) for kind in INTERACTIONS) >= 3 else "cold_prospect"


def buyer(p: Person) -> str:
    if not p.count("purchase"):
        return "never_bought"
    if not p.count("purchase", 181):
        return "inactive_buyer"
    return "regular_buyer" if regular(p) else "occasional_buyer"


def subscriber(p: Person) -> str:
    kinds = (*INTERACTIONS, "purchase")
    ago = min((event.ago for event in p.events if event.kind in kinds), default=10_000)
    recent = sum(p.count(kind, 30) for kind in kinds)
    earlier = sum(p.count(kind, 60) for kind in kinds) - recent
    sends = [event.ago for event in p.events if event.kind == "email_sent"]
    leaves = [event.ago for event in p.events if event.kind == "unsubscribed"]
    if leaves and not (sends and min(sends) < min(leaves)):
        return "unsubscribed"
    if max(event.ago for event in p.events) < 30:
        return "new_subscriber"
    if ago >= 30:
        return "inactive_subscriber"
    if earlier >= 4 and recent <= earlier / 2:
        return "at_risk_subscriber"
    if max(event.ago for event in p.events) >= 365:
        return "mature_subscriber"
    return "active_subscriber" if ago < 7 else "recently_inactive_subscriber"


def primary(p: Person) -> str:
    """The first that holds; `clients premium` has the priority."""
    orders = p.count("purchase")
    looked = p.count("page_view", 7, page="produits") > 0
    if p.spent >= 1000 and orders >= 5:
        return "clients premium"
    if looked and p.no_purchase_since_add(30) and orders and p.spent / orders > 50 and is_buyer(p):
        return "panier abandonné"
    if p.no_purchase_since_add(7) and p.left_in_cart > 0:
        return "relance panier"
    if (p.is_["region"] == "Île-de-France" and p.engagement > 70) or (
        p.last_seen < 7 and prospect(p) == "hot_prospect"
    ):
        return "priorité Île-de-France"
    if p.open_rate_30d > 0.5 and p.last_seen < 7:
        return "actif"
    return "prospects froids" if prospect(p) == "cold_prospect" else "autres contacts"


def value_points(p: Person) -> float:
    """More than 3 purchases in 6 months: 10, linear; open rate over 50 %: 5, logarithmic; comment or share: +2."""
    sent = p.count("email_sent", 182)
    rate = p.count("email_opened", 182) / sent if sent else 0.0
    opens = min(5.0, 5 * math.log2(1 + rate / 0.5))
    points = min(10.0, 10 * p.count("purchase", 182) / 4) + opens + 2 * (p.count("comment") + p.count("share"))
    return round(points, 2)


TAGS: dict[str, Callable[[Person], bool]] = {
    "Île-de-France engagée": lambda p: p.is_["region"] == "Île-de-France" and p.engagement > 70,
    "fréquentation élevée": lambda p: p.count("page_view", 30) >= 20,
    "inactif depuis 30 jours": lambda p: (
        not any(p.count(kind, 30) for kind in ("email_opened", "link_clicked", "page_view", "purchase"))
    ),
    "acheteurs 30 jours": lambda p: p.count("purchase", 30) > 0,
    "high value": lambda p: value_points(p) > 30,
    "très engagé": lambda p: p.engagement > 80,
    "offre exclusive": lambda p: p.engagement > 85,
    "jeunes actifs": lambda p: p.is_["lifestyle"] == "urbain" and 18 <= (p.is_["age"] or 0) <= 30 and p.last_seen < 30,
    "Élégance intemporelle": lambda p: (
        p.is_["lifestyle"] == "classique" and (p.is_["age"] or 0) > 45 and p.last_seen < 90
    ),
    "décideurs PME innovantes": lambda p: (
        p.is_["maturity"] == "innovant"
        and p.is_["function"] in {"direction", "DSI"}
        and p.is_["headcount"] is not None
        and p.is_["headcount"] < 250
        and p.count("webinar", 90) > 0
    ),
    "engagés par webinaire": lambda p: (
        p.is_["sector"] == "industrie"
        and p.count("webinar", 90) > 0
        and p.count("link_clicked", 90, channel="linkedin") == 0
    ),
    "engagés par LinkedIn": lambda p: (
        p.is_["sector"] == "industrie" and p.count("link_clicked", 90, channel="linkedin") > 0
    ),
    "données à vérifier": lambda p: (
        None not in {p.is_["headcount"], p.is_["turnover"]} and p.is_["headcount"] > p.is_["turnover"]
    ),
}


@pytest.mark.parametrize("tag", TAGS)
def test_tag_holds_for_exactly_the_contacts_of_a_plain_loop(tag: str, members: dict[str, set[str]]) -> None:
    expected = {contact for contact, person in people().items() if TAGS[tag](person)}
    assert expected, f"the sample has nobody in {tag!r}, so it tests nothing"
    assert members.get(tag, set()) == expected


@pytest.mark.parametrize(
    ("group", "of"),
    [("primary", primary), ("buyer", buyer), ("prospect", prospect), ("subscriber", subscriber)],
)
def test_each_contact_is_in_the_first_segment_of_a_group_that_holds(
    group: str, of: Callable[[Person], str], published: Path
) -> None:
    table = pl.read_parquet(f"{published}/memberships/as_of={AS_OF}/*.parquet", hive_partitioning=False)
    found = dict(table.filter(pl.col("group") == group).select("user_id", "segment").iter_rows())
    expected = {contact: of(person) for contact, person in people().items()}
    assert len(set(expected.values())) > 2
    assert found == expected


def test_points_are_those_of_the_articles(published: Path) -> None:
    scores = pl.read_parquet(f"{published}/scores/as_of={AS_OF}/*.parquet", hive_partitioning=False)
    behaviour = {"email_opened": 10, "link_clicked": 20, "cart_add": 30, "purchase": 50}
    for contact, person in people().items():
        row = scores.filter(pl.col("user_id") == contact).row(0, named=True)
        assert row["points_behaviour"] == sum(weight * person.count(kind) for kind, weight in behaviour.items())
        assert row["points_value"] == pytest.approx(value_points(person), abs=0.011)
        assert row["points_value_class"] == ("high_value" if row["points_value"] > 30 else "standard")
        assert row["points_engagement"] == row["engagement_score"] == pytest.approx(person.engagement, abs=0.011)
        levels = [("exclusive", 85), ("very_engaged", 80), ("engaged", 70), ("less_engaged", -1)]
        assert row["points_engagement_class"] == next(name for name, low in levels if row["engagement_score"] > low)
    assert scores["points_value_class"].n_unique() == 2


def test_the_ledger_of_points_sums_to_the_scores(published: Path) -> None:
    scores = pl.read_parquet(f"{published}/scores/as_of={AS_OF}/*.parquet", hive_partitioning=False)
    ledger = pl.read_parquet(f"{published}/points/as_of={AS_OF}/*.parquet", hive_partitioning=False)
    hundredths = (pl.col("points") * 100).round().cast(pl.Int64)
    summed = {
        (user, card): total
        for user, card, total in ledger.group_by("user_id", "card").agg(hundredths.sum()).iter_rows()
    }
    for card in ("behaviour", "value", "engagement"):
        for user, points in scores.select("user_id", f"points_{card}").iter_rows():
            assert summed.get((user, card), 0) == round(points * 100), (user, card)


def test_arms_are_of_about_the_asked_share_and_the_same_on_another_day(published: Path) -> None:
    scores = pl.read_parquet(f"{published}/memberships/as_of={AS_OF}/*.parquet", hive_partitioning=False)
    control = set(scores.filter(pl.col("segment") == "holdout_control")["user_id"])
    place = {c: int(hashlib.sha256(f"holdout 2026:{c}".encode()).hexdigest()[:8], 16) / 2**32 for c in people()}
    assert control == {contact for contact, at in place.items() if at < 0.1}
