"""Functions of one user's events in a rule: a column of the catalogue where there is one, else a measure."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import polars as pl

from engine.features.measure import EventRef, Measure, MeasureFunction
from engine.rules.event_condition import event_condition
from engine.rules.kinds import Typed
from engine.rules.reader import Reader
from engine.suggest import did_you_mean, some_of

if TYPE_CHECKING:
    from sqlglot import exp

    from engine.features.spec import FeatureSpec

Condition = Callable[["exp.Expr", Reader], pl.Expr]
_MAX_DAYS: Final = 36_500


@dataclass(frozen=True)
class Form:
    """How a function is written.

    Attributes:
        usage: An example of all its arguments.
        function: What it measures.
        types: Number of event types.
        numbers: Names of its whole numbers, in their order.
        needed: Those of them that must be there.
        by_name: Whole numbers that are given by name alone.
        conditions: Conditions by name; `where` is the one without a name.
        condition_needed: Whether it asks for `where`.
    """

    usage: str
    function: MeasureFunction
    types: int = 1
    numbers: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    by_name: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ("where",)
    condition_needed: bool = False


_TWO: Final = ("first", "second")
FORMS: Final[Mapping[str, Form]] = {
    "event_count": Form(
        "event_count('purchase', days, until => days, condition)", "event_count", 1, ("days",), by_name=("until",)
    ),
    "event_amount": Form(
        "event_amount('purchase', days, until => days, condition)", "event_amount", 1, ("days",), by_name=("until",)
    ),
    "event_days": Form(
        "event_days('purchase', days, until => days, condition)", "event_days", 1, ("days",), by_name=("until",)
    ),
    "days_since": Form("days_since('purchase', condition)", "days_since_event"),
    "days_since_first": Form("days_since_first('purchase', condition)", "days_since_first_event"),
    "first_time": Form("first_time('purchase', days, condition)", "first_time", 1, ("days",), ("days",)),
    "stopped": Form(
        "stopped('purchase', recent, before, condition)", "stopped", 1, ("recent", "days"), ("recent", "days")
    ),
    "restarted": Form(
        "restarted('purchase', recent, before, condition)", "restarted", 1, ("recent", "days"), ("recent", "days")
    ),
    "regularly": Form(
        "regularly('purchase', k, periods, period_days, condition)",
        "regularly",
        1,
        ("k", "periods", "period_days"),
        ("k", "periods", "period_days"),
    ),
    "followed_by": Form(
        "followed_by('cart_add', 'purchase', within => days, days => days, first => (condition), "
        "second => (condition))",
        "followed_by",
        2,
        (),
        ("within",),
        ("within", "days"),
        _TWO,
    ),
    "not_followed_by": Form(
        "not_followed_by('cart_add', 'purchase', days, first => (condition), second => (condition))",
        "not_followed_by",
        2,
        ("days",),
        (),
        (),
        _TWO,
    ),
    "held_for": Form(
        "held_for('plan', category = 'premium', days)", "held_for", 1, ("days",), ("days",), condition_needed=True
    ),
}


@dataclass
class Arguments:
    """What a function was given."""

    types: list[tuple[str, exp.Expr]] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    conditions: dict[str, exp.Expr] = field(default_factory=dict)


def event_function(
    node: exp.Expr, name: str, arguments: Sequence[exp.Expr], reader: Reader, condition: Condition
) -> Typed:
    """The value of an event function: of a column of the catalogue, or of the column of a measure."""
    spec = reader.scope.spec
    if spec is None:
        message = f"{name}(): events cannot be asked for here, only features and contact attributes"
        return reader.problem(node, message)
    told = len(reader.problems)
    form = FORMS[name]
    given = _arguments(node, form, arguments, reader)
    if len(reader.problems) == told:
        _check_numbers(node, name, given, reader)
    types = _types(name, given.types, spec, reader)
    wheres = {key: event_condition(given.conditions.get(key), spec, reader, condition) for key in form.conditions}
    if len(reader.problems) > told:
        return Typed("unknown", pl.lit(None), reader.text(node))
    return _answer(node, _measure(name, types, given.numbers, wheres), reader, spec)


def _arguments(node: exp.Expr, form: Form, arguments: Sequence[exp.Expr], reader: Reader) -> Arguments:
    given = Arguments()
    known = () if reader.scope.spec is None else reader.scope.spec.type_names
    usage = f"; it is written {form.usage}"
    for argument in arguments:
        kind = type(argument).__name__
        if kind == "Kwarg":
            _by_name(argument, form, given, reader)
        elif (
            kind == "Literal"
            and argument.is_string
            and (len(given.types) < form.types or not argument.name.isdecimal())
        ):
            given.types.append((unicodedata.normalize("NFC", argument.name), argument))
        elif kind in {"Literal", "Neg"}:
            _by_place(argument, form, given, reader)
        elif len(given.types) < form.types and kind == "Column":
            advice = f": write '{argument.name}'" if argument.name in known else ""
            reader.problem(argument, f"event types stand in single quotes{advice}{usage}")
            given.types.append(("", argument))
        elif "where" in form.conditions and "where" not in given.conditions:
            given.conditions["where"] = argument
        else:
            names = " and ".join(f"{key} => (condition)" for key in form.conditions if key != "where")
            reader.problem(argument, f"conditions are given as {names}{usage}" if names else f"not expected{usage}")
    missing = [key for key in form.needed if key not in given.numbers]
    if len(given.types) != form.types:
        reader.problem(node, f"expected {form.types} event type{'s' * (form.types > 1)} in single quotes{usage}")
    elif missing:
        reader.problem(node, f"{' and '.join(_SAID.get(key, key) for key in missing)} missing{usage}")
    elif form.condition_needed and "where" not in given.conditions:
        reader.problem(node, f"the condition is missing{usage}")
    return given


_SAID: Final = {"days": "the number of days", "recent": "the recent days", "within": "within => days"}


def _by_place(argument: exp.Expr, form: Form, given: Arguments, reader: Reader) -> None:
    free = next((key for key in form.numbers if key not in given.numbers), None)
    wrong = None
    if type(argument).__name__ == "Literal" and argument.is_string:
        wrong = f"numbers stand without quotes: {argument.name}"
    elif free is None:
        wrong = "one number too many" if form.numbers else "numbers are given by name here"
    if wrong is not None:
        reader.problem(argument, f"{wrong}; it is written {form.usage}")
        # What was meant is not missing, too.
        given.numbers.update(dict.fromkeys(form.needed, 1))
    elif free is not None:
        _number(argument, free, given, reader)


def _by_name(argument: exp.Expr, form: Form, given: Arguments, reader: Reader) -> None:
    key = str(argument.this.name).lower()
    if key in given.numbers or key in given.conditions:
        reader.problem(argument.expression, f"{key} is given twice")
    elif key in form.conditions and key != "where":
        given.conditions[key] = argument.expression
    elif key in {*form.numbers, *form.by_name}:
        _number(argument.expression, key, given, reader)
    else:
        reader.problem(argument.expression, f"{key} => is not known here; it is written {form.usage}")


def _number(node: exp.Expr, key: str, given: Arguments, reader: Reader) -> None:
    whole = type(node).__name__ == "Literal" and not node.is_string and node.name.isdecimal() and len(node.name) < 9
    given.numbers[key] = int(node.name) if whole else 1
    if not whole or int(node.name) > _MAX_DAYS:
        reader.problem(node, f"{reader.text(node)}: expected a whole number up to {_MAX_DAYS:,}")


def _check_numbers(node: exp.Expr, name: str, given: Arguments, reader: Reader) -> None:
    numbers = given.numbers
    least = {key: 0 if key == "until" or name == "held_for" else 1 for key in numbers}
    small = [key for key in numbers if numbers[key] < least[key]]
    if small:
        reader.problem(node, f"{small[0]} is at least 1")
    elif "until" in numbers and numbers["until"] >= numbers.get("days", _MAX_DAYS + 1):
        days, until = numbers["days"], numbers["until"]
        reader.problem(node, f"the window from {days} to {until} days ago is empty: until must be less than days")
    elif "recent" in numbers and numbers["recent"] >= numbers["days"]:
        recent, days = numbers["recent"], numbers["days"]
        message = f"the days before ({days}) count from as_of like the recent ones ({recent}), and must be more"
        reader.problem(node, message)
    elif "k" in numbers and numbers["k"] > numbers["periods"]:
        reader.problem(node, f"{numbers['k']} of {numbers['periods']} periods can never be")
    elif numbers.get("periods", 0) * numbers.get("period_days", 0) > _MAX_DAYS:
        reader.problem(node, f"the periods have {_MAX_DAYS:,} days together at most")


def _types(name: str, types: Sequence[tuple[str, exp.Expr]], spec: FeatureSpec, reader: Reader) -> list[str]:
    known = {unicodedata.normalize("NFC", kind.name): kind for kind in spec.types}
    for written, node in types:
        if written and written not in known:
            message = f"no event type {written!r}{did_you_mean(written, known)}; there are {some_of(sorted(known))}"
            reader.problem(node, message)
        elif written and name == "event_amount" and not known[written].priced:
            reader.problem(node, f"events of type {written!r} have no amounts")
    return [known[written].name for written, _ in types if written in known]


def _measure(name: str, types: Sequence[str], numbers: Mapping[str, int], wheres: Mapping[str, str | None]) -> Measure:
    form = FORMS[name]
    events: tuple[EventRef, ...]
    if name == "held_for":
        events = (EventRef(types[0]), EventRef(types[0], wheres["where"]))
    else:
        events = tuple(EventRef(kind, wheres[key]) for kind, key in zip(types, form.conditions, strict=True))
    others = {key: number for key, number in numbers.items() if key != "days"}
    return Measure(form.function, events, numbers.get("days"), **others)


def _answer(node: exp.Expr, measure: Measure, reader: Reader, spec: FeatureSpec) -> Typed:
    text = reader.text(node)
    column = catalogue_column(measure, spec)
    if column is not None and column in reader.scope.columns:
        reader.found.columns.add(column)
        name, dtype = column, reader.scope.columns[column]
    else:
        if measure not in reader.found.measures:
            reader.found.measures.append(measure)
        name, dtype = measure.name, measure.dtype
    expr = pl.col(name)
    reader.seen(text, expr)
    if dtype == pl.Boolean:
        return Typed("truth", expr, text)
    return Typed("number", expr.fill_nan(None) if dtype.is_float() else expr, text)


def catalogue_column(measure: Measure, spec: FeatureSpec) -> str | None:
    """The feature that is the same as a measure; None where the catalogue has none."""
    event = measure.events[0]
    if event.where is not None or measure.until or len(measure.events) > 1:
        return None
    kind = spec.types[spec.type_names.index(event.type)]
    window = "total" if measure.days is None else f"{measure.days}d"
    in_window = measure.days is None or measure.days in spec.windows
    if measure.function == "event_count" and in_window:
        return f"{kind.slug}_count_{window}"
    if measure.function == "event_amount" and in_window and kind.priced:
        return f"{kind.slug}_amount_{window}"
    if measure.function == "event_days" and "type_days" in spec.families and measure.days in spec.windows:
        return f"{kind.slug}_active_days_{window}"
    return f"days_since_{kind.slug}" if measure.function == "days_since_event" else None
