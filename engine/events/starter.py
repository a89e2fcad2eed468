"""A first configuration for an unknown event log, as commented TOML that runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from engine.config import Columns, Events, Sql, Target, Value
from engine.events.inspect import Draft
from engine.events.roles import ROLES, RoleGuess
from engine.events.survey import Survey
from engine.toml_text import toml_key, toml_value

_SHOWN_TYPES = 50
# Three training dates, one validation date and the days after it, a horizon of 30 days each, and some history before.
_DAYS_TO_LEARN_FROM = 180
_USERS_TO_LEARN_FROM = 200


def starter_config(draft: Draft, survey: Survey, guess: RoleGuess) -> str:
    """The text of a configuration file with the guessed source, its event types and roles, and what to change next."""
    roles = guess.roles
    blocks = (_head(roles), _source(draft, survey), _events(survey, guess), _target(survey, roles), _SEGMENTS)
    return "\n".join(line for block in blocks for line in (*block, ""))


def row_notes(draft: Draft, survey: Survey) -> tuple[str, ...]:
    """What becomes of rows that are not used, counted over all files; the first note says how many there are."""
    reasons = [
        (count, condition.others) for condition, count in zip(draft.conditions, survey.failing, strict=False) if count
    ]
    notes = []
    if survey.left_out:
        lost = f"; {survey.lost_users:,} of {survey.all_users:,} users have no other rows" if survey.lost_users else ""
        only = f" that {reasons[0][1]}" if len(reasons) == 1 else ""
        notes.append(f"`where` leaves out {_share(survey.left_out, survey.rows)}{only}{lost}")
    if len(reasons) > 1:
        notes += [f"{_share(count, survey.rows)} {others}" for count, others in reasons]
    if survey.rejected:
        unusable = "have no user, event type or time that can be used: a run rejects them"
        notes.append(f"{_share(survey.rejected, survey.rows)} {unusable}")
    return tuple(notes)


def _share(count: int, total: int) -> str:
    share = f"{count / total:.1%}" if count / total >= 0.001 else "less than 0.1%"
    return f"{count:,} of {total:,} rows ({share})"


def _head(roles: Events) -> Iterator[str]:
    yield "# Written by `tamis init`. Every key and its default: tamis config show, tamis config schema."
    yield ""
    yield "# The tables are written here, beside this file."
    yield 'out = "out"'
    yield "# Days and windows are cut at midnight of this zone."
    yield 'timezone = "UTC"'
    if roles.purchase is None:
        yield "# The segment of users that no rule takes."
        yield 'segment_fallback = "other"'
    else:
        yield "# Users that no rule takes get their RFM segment; a name puts them all into one segment."
        yield 'segment_fallback = "rfm"'


def _source(draft: Draft, survey: Survey) -> Iterator[str]:
    source = draft.source
    yield "[[sources]]"
    yield f"name = {toml_value(source.name)}"
    yield f"path = {toml_value(source.path)}"
    yield from (f"# {_one_line(note)}." for note in (*draft.notes, *row_notes(draft, survey)))
    if source.where is not None:
        yield f"where = {toml_value(source.where)}"
    if source.time_unit is not None:
        yield f"time_unit = {toml_value(source.time_unit)}"
    if source.same_id != "duplicate":
        yield f"same_id = {toml_value(source.same_id)}"
    yield "# The zone of timestamps that carry none."
    yield f"timezone = {toml_value(source.timezone)}"
    yield ""
    yield "[sources.columns]"
    for name in Columns.model_fields:
        entry = getattr(source.columns, name)
        if isinstance(entry, Sql | Value):
            yield f"{name} = {toml_value(entry.model_dump())}"
        elif entry is not None:
            yield f"{name} = {toml_value(entry)}"


def _events(survey: Survey, guess: RoleGuess) -> Iterator[str]:
    yield f"# From {survey.first_day} to {survey.last_day}:"
    width = max(len(f"{rows:,}") for rows in survey.types.values())
    for name, rows in list(survey.types.items())[:_SHOWN_TYPES]:
        yield f"#   {rows:>{width},}  {_one_line(name)}"
    if len(survey.types) > _SHOWN_TYPES:
        yield f"#   and {len(survey.types) - _SHOWN_TYPES} more types"
    yield from (f"# {_one_line(note)}." for note in guess.notes)
    yield "[events]"
    for role in ROLES:
        name = getattr(guess.roles, role)
        yield f"{role} = {toml_value(name)}" if name is not None else f'# {role} = "…"'


def _target(survey: Survey, roles: Events) -> Iterator[str]:
    event = roles.purchase or roles.click or next(iter(survey.types))
    target = Target(name="purchase" if roles.purchase else "target", event=event)
    enough = (survey.last_day - survey.first_day).days >= _DAYS_TO_LEARN_FROM and survey.users[
        event
    ] >= _USERS_TO_LEARN_FROM
    yield f"# How likely each user is to do this within {target.horizon_days} days."
    if not enough:
        yield "# To learn it, the log should cover half a year and some hundred users who did it."
    mark = "" if enough else "# "
    yield f"{mark}[[targets]]"
    for name in ("name", "event", "horizon_days"):
        yield f"{mark}{toml_key(name)} = {toml_value(getattr(target, name))}"


_SEGMENTS = (
    "# Segments of your own, tried in this order.",
    "# [[segments]]",
    '# name = "highly engaged"',
    '# where = "engagement_score > 70"',
    "#",
    "# [[segments]]",
    '# name = "asleep"',
    '# where = "days_since_last_event > 180"',
)


def _one_line(text: str) -> str:
    """`text` as a TOML comment can hold it."""
    return "".join(character if character.isprintable() else " " for character in text)


def source_name(paths: Iterable[str]) -> str:
    """A name for a source from its first path: the first plain word of it, from the end, that is not a pattern."""
    first = next(iter(paths), "")
    parts = [part.removesuffix(".parquet") for part in first.replace("\\", "/").split("/")]
    words = [part for part in parts if part and not set("*?[=.").intersection(part)]
    return words[-1] if words else "events"
