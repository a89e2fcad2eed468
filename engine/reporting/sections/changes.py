"""What changed since last time, in sentences with numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import polars as pl

from engine.reporting.causes import cause_message
from engine.reporting.facts import Facts, best_segment
from engine.reporting.masking import hidden_rows, without
from engine.reporting.message import Message, Quantity, say
from engine.reporting.model import Figure, Section
from engine.reporting.sections.movement import Movement, movement
from engine.reporting.sections.parts import MOST_ROWS, all_users, field, money, note, segment, share
from engine.reporting.sections.realised import is_apart

_SURE: Final = 0.25
"""A stability index from which users are of another kind than those that were learnt from: the usual rule of thumb."""


def section(facts: Facts) -> Section:
    """What changed since the date that is compared with."""
    table = size_changes(facts)
    missing = None if facts.before is not None else say("changes.first", day=facts.as_of)
    return Section(
        key="changes",
        audience="manager",
        title=say("changes.title"),
        sentences=(
            *_totals(facts),
            *_left_best(facts, movement(facts)),
            *_model(facts),
            *([] if table is None else _grown(table)),
            *_warnings(facts),
        ),
        figures=() if table is None or table.is_empty() else (_figure(facts, table),),
        missing=missing,
    )


def size_changes(facts: Facts) -> pl.DataFrame | None:
    """Primary segments by how much they grew: `segment`, `users_before`, `users`, `change`, `growth`.

    Sizes that are not shown, and changes made with them, are null. None without a date to compare with.
    """
    if facts.before is None:
        return None
    now, then = facts.now.sizes, facts.before.sizes
    names = [name for name in facts.primary if now.get(name) or then.get(name)]
    frame = pl.DataFrame(
        {
            "segment": names,
            "users_before": [then.get(name, 0) for name in names],
            "users": [now.get(name, 0) for name in names],
        },
        {"segment": pl.String, "users_before": pl.Int64, "users": pl.Int64},
    )
    for column in ("users_before", "users"):
        frame = without(frame, hidden_rows(frame[column].to_list(), facts.min_cell), [column])
    change = pl.col("users") - pl.col("users_before")
    grown = frame.with_columns(
        change=change, growth=pl.when(pl.col("users_before") > 0).then(change / pl.col("users_before"))
    )
    return grown.sort("change", "segment", descending=[True, False], nulls_last=True)


def _totals(facts: Facts) -> Iterator[Message]:
    now, then = all_users(facts.now), all_users(facts.before)
    users = facts.now.users
    if users is None or 0 < users < facts.min_cell:
        return
    before = None if facts.before is None else facts.before.users
    if before is None or facts.compare is None or 0 < before < facts.min_cell:
        yield say("changes.users_now", users=users, day=facts.as_of)
    else:
        yield say(
            "changes.users",
            users=users,
            day=facts.as_of,
            change=Quantity(users - before, "count", signed=True),
            growth=share(users - before, before, signed=True),
            before=facts.compare,
        )
    revenue, was, days = now.get("revenue"), then.get("revenue"), now.get("window_days")
    if revenue is None:
        return
    if was is None or facts.compare is None or then.get("window_days") != days:
        yield say("changes.revenue_now", revenue=money(revenue), days=Quantity(days, "days"))
    else:
        yield say(
            "changes.revenue",
            revenue=money(revenue),
            days=Quantity(days, "days"),
            growth=share(revenue - was, was, signed=True),
            change=money(revenue - was, signed=True),
            before=facts.compare,
        )


def _grown(table: pl.DataFrame) -> Iterator[Message]:
    known = table.filter(pl.col("change").is_not_null())
    ends = (
        ("changes.grown", known.filter(pl.col("change") > 0).head(2)),
        ("changes.shrunk", known.filter(pl.col("change") < 0).reverse().head(2)),
    )
    for key, rows in ends:
        sizes = tuple(
            say(
                "changes.size",
                segment=segment(row["segment"]),
                change=Quantity(row["change"], signed=True),
                before=row["users_before"],
                users=row["users"],
            )
            for row in rows.iter_rows(named=True)
        )
        if sizes:
            yield say(key, segments=sizes)


def _left_best(facts: Facts, moves: Movement | None) -> Iterator[Message]:
    """Who left the best segment, and why."""
    best = facts.best
    if best is None:
        return
    kpis = facts.now.kpis
    row = {} if kpis is None else kpis.filter(pl.col("segment") == best).row(0, named=True)
    yield say("changes.best", segment=segment(best), value=money(row["mean_value"]), users=row["users"])
    since = facts.now.flows_since
    if moves is None or since is None:
        return
    if not moves.were.get(best, 0) and facts.before is not None and facts.before.as_of == since:
        # Nobody can have left it: those who left the best one of then are who is asked about.
        earlier = best_segment(facts.before, tuple(name for name in moves.were if name != best), facts.min_cell)
        if earlier is not None:
            yield say("changes.best_before", segment=segment(best), since=since, before=segment(earlier))
            best = earlier
    exits, were = moves.exits.get(best), moves.were.get(best)
    if exits is None or were is None:
        yield say("changes.left_few", segment=segment(best), since=since)
        return
    left = say(
        "changes.left",
        segment=segment(best),
        exits=exits,
        users=were,
        share=share(exits, were),
        since=since,
        entries=Quantity(moves.entries.get(best)),
    )
    yield with_why(left, moves, best) if exits else left


def with_why(left: Message, moves: Movement, name: str) -> Message:
    """How many left a segment, and in the same breath why and where they are now."""
    more = tuple(_why_left(moves, name))
    return (
        say(f"flows.left_{len(more)}", left=left, **dict(zip(("why", "where"), more, strict=False))) if more else left
    )


def _why_left(moves: Movement, name: str) -> Iterator[Message]:
    """Why people left a segment, and where they are now: of each the two most frequent."""
    exits = moves.exits.get(name)
    causes = [
        say(
            "flows.cause" if cause.exact else "flows.cause_at_least",
            users=cause.people,
            share=share(cause.people, exits),
            cause=cause_message(cause.key),
        )
        for cause in moves.causes.get(name, ())[:2]
    ]
    if causes:
        yield say("flows.why", segment=segment(name), causes=tuple(causes))
    places = [say("flows.place", users=users, segment=segment(to)) for to, users in moves.destinations(name)[:2]]
    if places:
        yield say("flows.where", segment=segment(name), places=tuple(places))


def _model(facts: Facts) -> Iterator[Message]:
    """Whether the models are still right, as far as a date was validated; else whether users are still the same."""
    for target, table in sorted(facts.validation.items()):
        rows = table.filter(pl.col("as_of") <= facts.as_of, pl.col("base_rate").is_not_null())
        if rows.is_empty():
            continue
        row = rows.sort("as_of").row(-1, named=True)
        auc, low = row["auc"], row["auc_low"]
        right = None if auc is None or low is None else low > 0.5
        verdict = "unclear" if right is None else "right" if right else "wrong"
        predicted = row["predicted_rate"]
        if right and predicted is not None and is_apart(predicted, row["base_rate"], row["rows"]):
            verdict = "off"
        yield say(
            f"changes.model_{verdict}",
            target=target,
            day=row["as_of"],
            predicted=Quantity(row["predicted_rate"], "share"),
            realised=Quantity(row["base_rate"], "share"),
            users=row["rows"],
            auc=Quantity(auc, "number"),
        )
    if facts.bundle_id is not None and not facts.validation:
        yield say("changes.not_validated")
    drift = facts.now.drift
    if drift is not None and not drift.is_empty():
        moved = drift.filter((pl.col("psi") >= _SURE) & (pl.col("psi") > pl.col("chance")))
        yield say("changes.drift" if moved.height else "changes.no_drift", moved=moved.height, columns=drift.height)


def _warnings(facts: Facts) -> Iterator[Message]:
    if facts.now.warnings:
        yield say("changes.warnings", warnings=len(facts.now.warnings))


def _figure(facts: Facts, table: pl.DataFrame) -> Figure:
    shown = table.filter(pl.col("change").is_not_null() & (pl.col("change") != 0))
    most = MOST_ROWS // 2
    # The ends of a long list are what changed.
    shown = shown if shown.height <= 2 * most else pl.concat([shown.head(most), shown.tail(most)])
    known = table.filter(pl.col("change").is_not_null())
    if shown.is_empty():
        title = say("changes.figure_none")
    else:
        top, bottom = shown.row(0, named=True), shown.row(-1, named=True)
        more, fewer = (Quantity(row["change"], "count", signed=True) for row in (top, bottom))
        if shown.height == 1:
            title = say("changes.figure_title_one", segment=segment(top["segment"]), change=more)
        else:
            ends = segment(top["segment"]), segment(bottom["segment"])
            title = say("changes.figure_title", grown=ends[0], more=more, shrunk=ends[1], fewer=fewer)
    return Figure(
        key="changes_sizes",
        kind="bars",
        title=title,
        definition=say(
            "changes.figure_definition", day=facts.as_of, before=facts.compare or facts.as_of, note=note(facts)
        ),
        table=shown if shown.height else known,
        fields=(
            field("segment", vocabulary="segment"),
            field("users_before", "count"),
            field("users", "count"),
            field("change", "count"),
            field("growth", "share"),
        ),
        x="change",
        y="segment",
        marked=() if facts.best is None else (facts.best,),
    )
