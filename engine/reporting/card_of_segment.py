"""The card of a segment: what it is, how large, what its users do, whom they are, who came and left, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import polars as pl

from engine.config_segments import PRIMARY
from engine.reporting.causes import VOCABULARY, cause_key
from engine.reporting.facts import Facts
from engine.reporting.masking import OTHERS, hidden_rows, merge_small
from engine.reporting.message import Message, Name, Quantity, Unit, say
from engine.reporting.model import Field, Figure, Section, Tile
from engine.reporting.sections.movement import movement
from engine.reporting.sections.parts import all_users
from engine.reporting.trends import sizes_over_dates
from engine.segments.kpis import RATES

_COLUMNS: Final = 4
"""Columns whose composition is drawn: those that are most unlike all users."""

_MOST: Final = 12
"""Bars of a figure."""

_UNITS: Final[dict[str, Unit]] = {
    "users": "count",
    "revenue": "money",
    "mean_value": "money",
    "mean_clv": "money",
    "buyers": "count",
    "orders_per_buyer": "number",
    **dict.fromkeys(RATES, "share"),
    "cost_per_acquisition": "money",
}
# What is hidden together with a count of few people: it would tell the count, or sums of those few.
_TOLD_BY: Final = {
    "buyers": ("buyers", "conversion", "revenue", "orders_per_buyer"),
    "first_buyers": ("cost_per_acquisition",),
    "clv_users": ("mean_clv",),
    **{count: (rate,) for rate, (count, _) in RATES.items() if rate not in {"conversion", "reactivation_rate"}},
    "reactivated": ("reactivation_rate",),
    "inactive": ("reactivation_rate",),
}


def segment_tiles(facts: Facts, name: str) -> tuple[Tile, ...]:
    """The head of the card."""
    row, users = _kpis(facts, name), _users(facts, name)
    total = facts.now.users
    share = None if users is None or not total else users / total
    tiles = [
        Tile(Quantity(users), say("card.tile_users", users=Quantity(users))),
        Tile(Quantity(share, "share"), say("card.tile_share")),
    ]
    if users and row.get("mean_value") is not None:
        tiles.append(Tile(Quantity(row["mean_value"], "money"), say("card.tile_value")))
    if users and row.get("revenue") is not None:
        days = Quantity(row.get("window_days"), "days")
        tiles.append(Tile(Quantity(row["revenue"], "money"), say("card.tile_revenue", days=days)))
    return tuple(tiles)


def segment_sections(facts: Facts, name: str) -> tuple[Section, ...]:
    """The sections of the card; of a segment of too few people nothing but what it is."""
    definition = Section("definition", "manager", say("card.definition"), tuple(_definition(facts, name)))
    if not _users(facts, name):
        few = say("card.nobody") if facts.now.sizes.get(name) == 0 else say("card.few", people=facts.min_cell)
        return (definition, Section("figures", "manager", say("card.size"), missing=few))
    return (definition, _size(facts, name), _key_figures(facts, name), _composition(facts, name), _moves(facts, name))


def _users(facts: Facts, name: str) -> int | None:
    """Users of the segment; None when they are too few to be shown."""
    sizes = facts.now.sizes
    if facts.groups.get(name) is None:
        return _alone(sizes.get(name), facts.min_cell)
    members = [other for other in sorted(sizes) if facts.groups.get(other) == facts.groups[name]]
    hidden = hidden_rows([sizes[other] for other in members], facts.min_cell)
    return None if dict(zip(members, hidden, strict=True)).get(name, True) else sizes[name]


def _alone(count: int | None, min_cell: int) -> int | None:
    return None if count is None or 0 < count < min_cell else count


def _kpis(facts: Facts, name: str) -> dict[str, Any]:
    frame = facts.now.kpis
    rows = [] if frame is None else frame.filter(pl.col("segment") == name).to_dicts()
    return _without_few(rows[0], facts.min_cell) if rows else {}


def _without_few(row: dict[str, Any], min_cell: int) -> dict[str, Any]:
    gone = {
        figure
        for count, figures in _TOLD_BY.items()
        if row.get(count) is not None and 0 < row[count] < min_cell
        for figure in figures
    }
    return {key: None if key in gone else value for key, value in row.items()}


def _definition(facts: Facts, name: str) -> Iterator[Message]:
    frame = facts.now.definitions
    rows = [] if frame is None else frame.filter(pl.col("segment") == name).to_dicts()
    if not rows:
        yield say("card.undefined")
        return
    row = rows[0]
    # What the program itself describes, the page says in both languages.
    if row.get("description") and row["kind"] != "fallback":
        yield say("card.described", text=Name(row["description"]))
    rule = row.get("rule")
    if rule is not None:
        yield say("card.rule", rule=Name(rule))
    else:
        yield say("card.kind_list" if row["kind"] == "list" else f"card.kind_{row['kind']}")
    for column in ("frozen_on", "expires_on"):
        if row.get(column) is not None:
            yield say(f"card.{column}", day=row[column])
    group = row.get("group")
    yield say("card.tag") if group is None else say("card.group", group=Name(group))
    for column, key in (("campaigns", "card.campaigns"), ("depends_on", "card.depends_on")):
        vocabulary = "segment" if column == "depends_on" else ""
        names = tuple(say("card.name", name=Name(each, vocabulary)) for each in row.get(column) or ())
        if names:
            yield say(key, names=names)


def _field(column: str, unit: Unit | None = None, vocabulary: str = "") -> Field:
    return Field(column, say(f"card.{column}"), unit, vocabulary)


def _size(facts: Facts, name: str) -> Section:
    sizes = sizes_over_dates(facts.history, facts.groups, facts.min_cell, [name])
    table = sizes.select(day="as_of", users="users").drop_nulls()
    title = say("card.size")
    if table.height < 2:
        return Section("over_time", "manager", title, missing=say("card.one_date"))
    first, last = (table.row(place, named=True) for place in (0, -1))
    figure = Figure(
        key="size",
        kind="lines",
        title=say("card.size_title", now=last["users"], then=first["users"], day=first["day"]),
        definition=say("card.size_definition"),
        table=table,
        fields=(_field("day"), _field("users", "count")),
        x="day",
        y="users",
        users="users",
    )
    return Section("over_time", "manager", title, figures=(figure,))


def _key_figures(facts: Facts, name: str) -> Section:
    row, base = _kpis(facts, name), _without_few(all_users(facts.now), facts.min_cell)
    shown = [column for column in _UNITS if row.get(column) is not None or base.get(column) is not None]
    title = say("card.key_figures")
    if not row or not shown:
        return Section("what_they_do", "manager", title, missing=say("card.no_key_figures"))
    sides = [{"side": side, **{column: found.get(column) for column in shown}} for side, found in _sides(row, base)]
    schema = {column: pl.Int64 if _UNITS[column] == "count" else pl.Float64 for column in shown}
    days = Quantity(row.get("window_days"), "days")
    table = Figure(
        key="key_figures",
        kind="none",
        title=say("card.key_figures_title", days=days),
        definition=say("card.key_figures_definition", days=days),
        table=pl.DataFrame(sides, {"side": pl.String, **schema}, orient="row"),
        fields=(_field("side", vocabulary="side"), *(_field(column, _UNITS[column]) for column in shown)),
    )
    lifts = [
        {"rate": rate, "times": row[rate] / base[rate]}
        for rate in RATES
        if row.get(rate) is not None and base.get(rate)
    ]
    return Section("what_they_do", "manager", title, figures=(table, *_lifts(lifts)))


def _sides(row: dict[str, Any], base: dict[str, Any]) -> tuple[tuple[str, dict[str, Any]], ...]:
    return ("this", row), ("all", base)


def _lifts(lifts: Sequence[dict[str, Any]]) -> Iterator[Figure]:
    if not lifts:
        return
    most = max(lifts, key=lambda lift: max(lift["times"], 1 / lift["times"] if lift["times"] else 0))
    yield Figure(
        key="rates",
        kind="bars",
        title=say("card.rates_title", rate=Name(most["rate"], "rate"), times=Quantity(most["times"], "factor")),
        definition=say("card.rates_definition"),
        table=pl.DataFrame(lifts, {"rate": pl.String, "times": pl.Float64}, orient="row"),
        fields=(_field("rate", vocabulary="rate"), _field("times", "factor")),
        x="times",
        y="rate",
        marked=(most["rate"],),
    )


def _composition(facts: Facts, name: str) -> Section:
    title, frame = say("card.composition"), facts.now.composition
    if frame is None:
        return Section("composition", "manager", title, missing=say("card.no_composition"))
    of = frame.filter((pl.col("segment") == name) & pl.col("psi").is_not_null())
    far = (
        of.filter(pl.col("psi") > pl.col("psi_chance").fill_null(0))
        .group_by("column")
        .agg(pl.col("psi").first())
        .sort("psi", "column", descending=[True, False])
    )
    columns = far["column"].to_list()[:_COLUMNS]
    figures = tuple(
        figure
        for place, column in enumerate(columns)
        for figure in _bins(_called(of.filter(pl.col("column") == column), facts), column, place, facts.min_cell)
    )
    return Section(
        "composition", "manager", title, figures=figures, missing=None if figures else say("card.as_all_users")
    )


def _called(rows: pl.DataFrame, facts: Facts) -> pl.DataFrame:
    """The rows with names of clusters in place of their numbers."""
    found = None if facts.bundle is None else facts.bundle.clusters
    if found is None or rows["column"][0] != "cluster":
        return rows
    names = {str(number): name for number, name in found.called.names.items()}
    return rows.with_columns(bin=pl.col("bin").replace_strict(names, default=pl.col("bin")))


def _bins(rows: pl.DataFrame, column: str, place: int, min_cell: int) -> Iterator[Figure]:
    hidden = hidden_rows(rows["users"].to_list(), min_cell)
    long = []
    for row, gone in zip(rows.iter_rows(named=True), hidden, strict=True):
        of = row["bin"]
        long.append({"bin": of, "side": "this", "share": None if gone else row["share"]})
        long.append({"bin": of, "side": "all", "share": row["base_share"]})
    known = [
        (row["share"] - row["base_share"], row["bin"] or "", row)
        for row, gone in zip(rows.iter_rows(named=True), hidden, strict=True)
        if not gone
    ]
    if not known:
        return
    _, _, most = max(known, key=lambda entry: (entry[0], entry[1]))
    table = pl.DataFrame(long, {"bin": pl.String, "side": pl.String, "share": pl.Float64}, orient="row")
    yield Figure(
        key=f"composition_{place + 1}",
        kind="grouped_bars",
        title=say(
            "card.composition_title",
            column=Name(column, "feature"),
            bin=_bin(most["bin"], "cluster" if column == "cluster" else ""),
            share=Quantity(most["share"], "share"),
            all=Quantity(most["base_share"], "share"),
        ),
        definition=say("card.composition_definition", column=Name(column, "feature")),
        table=table,
        fields=(
            _field("bin", vocabulary="cluster" if column == "cluster" else ""),
            _field("side", vocabulary="side"),
            _field("share", "share"),
        ),
        x="share",
        y="bin",
        colour="side",
    )


def _bin(text: str | None, vocabulary: str) -> Message:
    return say("card.no_value") if text is None else say("card.name", name=Name(text, vocabulary))


def _moves(facts: Facts, name: str) -> Section:
    title, since = say("card.moves"), facts.now.flows_since
    entries, exits = facts.now.moved("entries"), facts.now.moved("exits")
    if since is None or entries is None or exits is None:
        return Section("moves", "manager", title, missing=say("card.no_moves"))
    came, left = (_moved(facts, name, direction) for direction in ("entries", "exits"))
    sentences = (
        say("card.came", users=Quantity(came), day=since),
        say("card.left", users=Quantity(left), day=since),
    )
    figures = [*_ways(facts, name, came, left), *_reasons(facts, name, "exits", left)]
    figures += _reasons(facts, name, "entries", came)
    hidden = came is None or left is None
    return Section(
        "moves",
        "manager",
        title,
        sentences=sentences,
        figures=tuple(figures),
        missing=say("card.few_moves", people=facts.min_cell) if hidden else None,
    )


def _moved(facts: Facts, name: str, direction: str) -> int | None:
    """Users who came or left; None when they are too few, or would tell how many are somewhere else."""
    if facts.groups.get(name) == PRIMARY:
        found = movement(facts)
        side = {} if found is None else (found.entries if direction == "entries" else found.exits)
        return side.get(name)
    both = [(facts.now.moved(each) or {}).get(name, 0) for each in ("entries", "exits")]
    if any(_alone(count, facts.min_cell) is None for count in both):
        return None
    return both[0] if direction == "entries" else both[1]


def _ways(facts: Facts, name: str, came: int | None, left: int | None) -> Iterator[Figure]:
    """Where users came from and went to, of a primary segment."""
    found = movement(facts) if facts.groups.get(name) == PRIMARY else None
    if found is None:
        return
    to = [(other, users) for (origin, other), users in found.cells.items() if origin == name != other]
    origins = [(origin, users) for (origin, other), users in found.cells.items() if other == name != origin]
    for key, total, ways in (("went_to", left, to), ("came_from", came, origins)):
        shown = sorted(((other, users) for other, users in ways if users), key=lambda way: (-way[1], way[0]))
        named = [way for way in shown if way[0] != OTHERS]
        if total is None or not named:
            continue
        yield _bars(key, shown[:_MOST], "segment", "segment", named[0])


def _reasons(facts: Facts, name: str, direction: str, total: int | None) -> Iterator[Figure]:
    frame = facts.now.flows
    if frame is None or not total:
        return
    column = "from_segment" if direction == "exits" else "to_segment"
    of = frame.filter(pl.col(column) == name)
    counted: dict[str, int] = {}
    for kind, cause, users in of.select("cause_kind", "cause", "users").iter_rows():
        key = cause_key(kind, cause)
        counted[key] = counted.get(key, 0) + users
    table = pl.DataFrame(
        sorted(counted.items(), key=lambda item: (-item[1], item[0])),
        {"cause": pl.String, "users": pl.Int64},
        orient="row",
    )
    merged = merge_small(table, "cause", "users", (), min_cell=facts.min_cell, most=_MOST)
    named = [row for row in merged.iter_rows() if row[0] != OTHERS]
    if named:
        key = "why_left" if direction == "exits" else "why_came"
        yield _bars(key, merged.rows(), "cause", VOCABULARY, named[0])


def _bars(key: str, rows: Sequence[tuple[Any, ...]], column: str, vocabulary: str, first: tuple[Any, ...]) -> Figure:
    return Figure(
        key=key,
        kind="bars",
        title=say(f"card.{key}_title", first=Name(first[0], vocabulary), users=first[1]),
        definition=say(f"card.{key}_definition"),
        table=pl.DataFrame(rows, {column: pl.String, "users": pl.Int64}, orient="row"),
        fields=(_field(column, vocabulary=vocabulary), _field("users", "count")),
        x="users",
        y=column,
        users="users",
        marked=(str(first[0]),),
    )
