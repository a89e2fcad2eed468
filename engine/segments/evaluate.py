"""Who is in which segment: the rules over one bucket of users, each clause of all rules computed once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from engine.config_segments import PRIMARY
from engine.errors import ConfigError, IntegrityError
from engine.rules.rule import combine, segment_column, tenure_column
from engine.segments.arms import places
from engine.segments.definition import Definition
from engine.segments.plan import SegmentPlan
from engine.segments.static_lists import is_in_force

# A panic inside Polars is a BaseException.
_REFUSALS: Final = (pl.exceptions.PolarsError, pl.exceptions.PanicException)

_CELLS_AT_ONCE: Final = 1 << 24
"""Users × segments whose memberships are put in order at once: bytes of memory."""


class Evaluated(NamedTuple):
    """Who is in which segment.

    Attributes:
        users: The frame that came in, in its order, with `segment` (the primary one; String, never null) and a String
            column per other group, named after it; null for users in none of its segments.
        members: `user_id`, `segment`, `group` (null: tag): a row per membership, sorted by user, then segment.
        holds: A Boolean column per segment, named after it, in the order of the definitions and the rows of `users`:
            whether the user is a member.
        clauses: Segment, text of a clause of its rule, and users for whom the clause holds, in the order of the rules.
        listed: By segment with a list, the users whose id is in it, whether or not it is in force.
        matched: By segment of a group with a rule, the users for whom it holds, also those whom others take before.
    """

    users: pl.DataFrame
    members: pl.DataFrame
    holds: pl.DataFrame
    clauses: tuple[tuple[str, str, int], ...]
    listed: dict[str, int]
    matched: dict[str, int]


def evaluate(
    plan: SegmentPlan,
    frame: pl.DataFrame,
    lists: Mapping[str, pl.Series],
    tenures: pl.DataFrame | None,
    as_of: date,
    agreed: Mapping[str, pl.Series] | None = None,
) -> Evaluated:
    """The segments of each user: of an exclusive group the first that holds, and every tag that does.

    Args:
        plan: What `plan_segments` gave.
        frame: One row per user, key `user_id`, with the columns and measures of the rules, and with `rfm_segment` when
            its segments are what users fall back to.
        lists: By segment, the ids of static lists, in the type of `user_id`; a missing one counts as empty.
        tenures: Memberships of the date before: `user_id`, `segment`, `entered_on`; None without one.
        as_of: The day of the run.
        agreed: By segment that asks for purposes, whether each user agreed to them; others cannot be in it.

    Raises:
        ConfigError: Rules that fail on a value in the data; all that do so at the same depth.
        IntegrityError: Users who would be in no segment of the primary group.
    """
    columns = sorted(({*plan.columns} | {measure.name for measure in plan.measures}) - {"user_id"})
    table = frame.select("user_id", *columns).with_columns(pl.selectors.float().fill_nan(None))
    asked = frozenset[str]().union(*(clause.segments for clause in plan.clauses))
    listed = {
        definition.name: frame["user_id"].is_in(lists[definition.name].implode())
        for definition in plan.definitions
        if definition.list is not None and definition.name in lists
    }
    known: dict[int, pl.Series] = {}
    raw: dict[str, pl.Series] = {}
    final: dict[str, pl.Series] = {}
    tried: dict[str, _Tried] = {}
    by_name = {definition.name: definition for definition in plan.definitions}
    rfm = sum(definition.kind == "fallback" for definition in plan.definitions) > 1
    for names in plan.stages:
        stage = [by_name[name] for name in names]
        known |= _clauses(plan, names, known, table)
        matches = _matches(stage, frame, _rules(plan, names, known), listed, as_of, rfm=rfm)
        raw |= {name: match & agreed[name] if agreed and name in agreed else match for name, match in matches.items()}
        settled = _settled(plan, stage, raw, tried)
        final |= settled
        table = table.with_columns(
            [member.alias(segment_column(name)) for name, member in settled.items() if name in asked]
            + [
                _tenure(name, frame["user_id"], member, tenures, as_of)
                for name, member in settled.items()
                if name in plan.tenures
            ]
        )
    counts = {position: int(clause.sum()) for position, clause in known.items()}
    holds = pl.DataFrame([final[definition.name].alias(definition.name) for definition in plan.definitions])
    return Evaluated(
        users=frame.with_columns(_group_columns(plan, final, frame.height)),
        members=_members(plan.definitions, frame["user_id"], holds),
        holds=holds,
        clauses=tuple(
            (name, clause.text, counts[position])
            for name, rule in plan.rules.items()
            for clause, position in zip(rule.clauses, plan.used[name], strict=True)
        ),
        listed={name: int(on_it.sum()) for name, on_it in listed.items()},
        matched={
            definition.name: int(raw[definition.name].sum())
            for definition in plan.definitions
            if definition.group is not None and definition.name in plan.rules
        },
    )


def _clauses(
    plan: SegmentPlan, stage: Sequence[str], known: Mapping[int, pl.Series], table: pl.DataFrame
) -> dict[int, pl.Series]:
    """The clauses that the rules of a stage need and that are not known yet."""
    needed = dict.fromkeys(position for name in stage for position in plan.used.get(name, ()))
    new = [position for position in needed if position not in known]
    if not new:
        return {}
    try:
        found = _computed(table, [plan.clauses[position].expr for position in new])
    except _REFUSALS as error:
        raise _failed(plan, stage, table) from error
    return dict(zip(new, found, strict=True))


def _computed(table: pl.DataFrame, exprs: Sequence[pl.Expr]) -> list[pl.Series]:
    named = [expr.alias(f"clause {index}") for index, expr in enumerate(exprs)]
    # Beside a column, a clause over constants alone has as many rows as there are users.
    return table.select("user_id", *named).get_columns()[1:]


def _failed(plan: SegmentPlan, stage: Sequence[str], table: pl.DataFrame) -> ConfigError:
    problems = []
    for name in stage:
        for clause in plan.rules[name].clauses if name in plan.rules else ():
            try:
                _computed(table, [clause.expr])
            except _REFUSALS as error:
                # Polars' message ends with the values that it could not convert.
                reason = re.split(r":? *\[", str(error).strip().split("\n", 1)[0])[0]
                problems.append(f"  - {name!r}: {clause.text}\n      {reason}")
    return ConfigError(
        "Rules of segments fail on the data:\n" + "\n".join(problems),
        code="segment-rule-failed",
        hint="Guard the value with CASE, NULLIF or TRY_CAST.",
    )


def _rules(plan: SegmentPlan, stage: Sequence[str], known: Mapping[int, pl.Series]) -> dict[str, pl.Series]:
    """For whom each rule of a stage holds."""
    ruled = [name for name in stage if name in plan.rules]
    if not ruled:
        return {}
    needed = dict.fromkeys(position for name in ruled for position in plan.used[name])
    clauses = pl.DataFrame([known[position].alias(str(position)) for position in needed])
    held = [
        combine(plan.rules[name].logic, [pl.col(str(position)) for position in plan.used[name]]).alias(f"rule {index}")
        for index, name in enumerate(ruled)
    ]
    return dict(zip(ruled, clauses.select(held).get_columns(), strict=True))


def _matches(
    stage: Sequence[Definition],
    frame: pl.DataFrame,
    held: Mapping[str, pl.Series],
    listed: Mapping[str, pl.Series],
    as_of: date,
    *,
    rfm: bool,
) -> dict[str, pl.Series]:
    """For whom each segment of a stage would hold, were it the first to be tried."""
    keys = dict.fromkeys(definition.arm.key for definition in stage if definition.arm is not None)
    drawn = {key: places(frame["user_id"], key) for key in keys}
    everyone, nobody = (pl.repeat(value, frame.height, dtype=pl.Boolean, eager=True) for value in (True, False))
    found: dict[str, pl.Series] = {}
    for definition in stage:
        name, arm, static = definition.name, definition.arm, definition.list
        match = held.get(name, everyone)
        if arm is not None:
            match = match & (drawn[arm.key] >= arm.low) & (drawn[arm.key] < arm.high)
        elif static is not None:
            match = listed.get(name, nobody) if is_in_force(static, as_of) else nobody
        elif definition.kind == "fallback" and rfm:
            match = (frame["rfm_segment"] == name).fill_null(False)
        found[name] = match
    return found


class _Tried(NamedTuple):
    """How far a group is: segments that were tried, and the users whom they took."""

    segments: int
    taken: pl.Series | None


def _settled(
    plan: SegmentPlan, stage: Sequence[Definition], raw: Mapping[str, pl.Series], tried: dict[str, _Tried]
) -> dict[str, pl.Series]:
    """Members of the segments that are known by now and were not before; `tried` is brought forward."""
    settled = {definition.name: raw[definition.name] for definition in stage if definition.group is None}
    for group in dict.fromkeys(definition.group for definition in stage if definition.group is not None):
        count, taken = tried.get(group, _Tried(0, None))
        for name in plan.groups[group][count:]:
            if name not in raw:
                break
            settled[name] = raw[name] if taken is None else raw[name] & ~taken
            taken = raw[name] if taken is None else taken | raw[name]
            count += 1
        tried[group] = _Tried(count, taken)
    return settled


def _tenure(name: str, user_id: pl.Series, member: pl.Series, tenures: pl.DataFrame | None, as_of: date) -> pl.Series:
    """Days since each member entered, 0 for who was no member the date before; null for who is none."""
    users = pl.DataFrame({"user_id": user_id, "member": member})
    if tenures is None:
        since = users.with_columns(entered_on=pl.lit(None, pl.Date))
    else:
        before = tenures.filter(pl.col("segment") == name).select("user_id", "entered_on")
        since = users.join(before, on="user_id", how="left", maintain_order="left")
    days = (pl.lit(as_of) - pl.col("entered_on")).dt.total_days().fill_null(0)
    return since.select(pl.when("member").then(days).cast(pl.Int64).alias(tenure_column(name))).to_series()


def _group_columns(plan: SegmentPlan, final: Mapping[str, pl.Series], height: int) -> list[pl.Series]:
    columns = []
    for group, tried in plan.groups.items():
        which = np.full(height, -1, dtype=np.int32)
        for index, name in enumerate(tried):
            which[final[name].to_numpy()] = index
        nobody = int((which < 0).sum())
        if group == PRIMARY and nobody:
            message = f"{nobody} of {height} users are in no segment: no rule takes them, and they have no RFM segment."
            raise IntegrityError(message, code="segments-incomplete", hint="Run `tamis fit`, then score again.")
        at = pl.Series(which).replace(-1, None)
        column = pl.Series(tried, dtype=pl.String).gather(at).alias("segment" if group == PRIMARY else group)
        columns.append(column)
    return sorted(columns, key=lambda column: column.name != "segment")


def _members(definitions: Sequence[Definition], user_id: pl.Series, holds: pl.DataFrame) -> pl.DataFrame:
    """A row per membership, sorted: users in their order, for each the segments in theirs."""
    by_name = sorted(definitions, key=lambda definition: definition.name)
    in_order = user_id.is_sorted()
    order = user_id.arg_sort()
    width = len(by_name)
    rows = max(1, _CELLS_AT_ONCE // max(1, width))
    at_users, at_segments = [np.empty(0, np.uint32)], [np.empty(0, np.uint32)]
    for start in range(0, len(user_id), rows):
        chosen = holds.slice(start, rows) if in_order else holds[order.slice(start, rows)]
        cells = np.empty((width, chosen.height), dtype=np.bool_)
        for index, definition in enumerate(by_name):
            cells[index] = chosen[definition.name].to_numpy()
        member = np.flatnonzero(np.ascontiguousarray(cells.T))
        ends = np.searchsorted(member, np.arange(1, chosen.height + 1) * width)
        user = np.repeat(np.arange(chosen.height), np.diff(ends, prepend=0))
        at_users.append((user + start).astype(np.uint32))
        at_segments.append((member - user * width).astype(np.uint32))
    users = order.gather(pl.Series(np.concatenate(at_users)))
    segments = pl.Series(np.concatenate(at_segments))
    return pl.DataFrame(
        {
            "user_id": user_id.gather(users),
            "segment": pl.Series([one.name for one in by_name], dtype=pl.String).gather(segments),
            "group": pl.Series([one.group for one in by_name], dtype=pl.String).gather(segments),
        }
    )
