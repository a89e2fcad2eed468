"""A figure of every kind with hostile names, and a report of all of them."""

from __future__ import annotations

from datetime import date
from html.parser import HTMLParser
from typing import Final

import polars as pl

from engine.reporting.message import Quantity, Unit, say
from engine.reporting.model import Field, Figure, Kind, Report, Section, Tile

MARKUP: Final = "<script>alert('x')</script> & \"co\""
RIGHT_TO_LEFT: Final = "عملاء أوفياء"
LONG: Final = "coupon_redeemed_count_of_the_last_365_days_without_the_first_order_of_each_month"
NAMES: Final = ("champions", MARKUP, RIGHT_TO_LEFT, LONG, "été 😀")
KINDS: Final[tuple[Kind, ...]] = (
    *("bars", "grouped_bars", "stacked_bars", "lines", "dots", "heat", "calibration", "none"),
)


def figure(kind: Kind, names: tuple[str, ...] = NAMES, *, unit: Unit = "count") -> Figure:
    """A figure of a kind, with negative and unknown numbers where the kind allows them."""
    days = [date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1)]
    number = Field("users", say("index.users"), unit)
    named = Field("segment", say("index.segment"), vocabulary="segment")
    other = Field("bundle", say("index.bundle"))
    texts = {"key": f"{kind}_figure", "kind": kind, "title": say("index.users"), "definition": say("index.title")}
    if kind == "lines":
        rows = [{"day": day, "segment": name, "users": 7} for day in days for name in names]
        table = pl.DataFrame(rows, {"day": pl.Date, "segment": pl.String, "users": pl.Int64}, orient="row")
        fields = (Field("day", say("index.day")), named, number)
        return Figure(**texts, table=table, fields=fields, x="day", y="users", colour="segment")
    if kind in {"dots", "calibration"}:
        spans = ("users", "auc", "log_loss")
        rows = [{"segment": name, **dict.fromkeys(spans, place / 10)} for place, name in enumerate(names)]
        table = pl.DataFrame(rows, {"segment": pl.String, **dict.fromkeys(spans, pl.Float64)}, orient="row")
        fields = (named, *(Field(column, say(f"index.{column}"), "share") for column in spans))
        x, y = ("users", "segment") if kind == "dots" else ("users", "auc")
        return Figure(**texts, table=table, fields=fields, x=x, y=y, low="auc", high="log_loss")
    if kind in {"grouped_bars", "stacked_bars", "heat"}:
        rows = [
            {"segment": name, "bundle": side, "users": None if place == 4 else 10 * place}
            for place, name in enumerate(names)
            for side in ("a", MARKUP)
        ]
        table = pl.DataFrame(rows, {"segment": pl.String, "bundle": pl.String, "users": pl.Int64}, orient="row")
        x, colour = ("bundle", "users") if kind == "heat" else ("users", "bundle")
        return Figure(**texts, table=table, fields=(named, other, number), x=x, y="segment", colour=colour)
    rows = [{"segment": name, "users": None if place == 4 else 50 - 30 * place} for place, name in enumerate(names)]
    table = pl.DataFrame(rows, {"segment": pl.String, "users": pl.Int64}, orient="row")
    return Figure(**texts, table=table, fields=(named, number), x="users", y="segment", marked=("champions",))


def report(*figures: Figure) -> Report:
    """A report with the figures, one half for the manager and one for the scientist."""
    half = len(figures) // 2
    sections = (
        Section(
            "one", "manager", say("index.trends"), (say("index.title"),), figures[:half], alarms=(say("index.none"),)
        ),
        Section("two", "scientist", say("index.models"), (), figures[half:], missing=say("index.no_models")),
    )
    tiles = (Tile(Quantity(2463), say("index.users")),)
    return Report(say("index.title"), (say("index.trends"),), tiles, sections, (say("index.users"),), currency="EUR")


class Page(HTMLParser):
    """What a page holds: ids, attributes by tag, visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, attribute: str) -> list[str]:
        """All values of an attribute."""
        return [str(attributes[attribute]) for _, attributes in self.tags if attribute in attributes]
