"""Score cards: which there are, what they are made of, and the points they give each user."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from engine.config import Config, PointCard, PointRule
from engine.errors import ConfigError
from engine.features.measure import Measure
from engine.points.forms import points_of, to_hundredths, to_points
from engine.points.ledger import CAP_RULE, Entry, ledger_of
from engine.points.presets import Labels, Preset, preset_card
from engine.points.quantity import Quantity, quantity_of
from engine.rules.scope import Scope


@dataclass(frozen=True)
class Card:
    """A score card whose preset, if it has one, was put in place.

    Attributes:
        name: Names its columns.
        rules: In the order of the ledger: those of the preset, then those of its own.
        cap: Points at most; None without limit.
        floor: Points at least.
        classes: Class and the points that must be exceeded, the highest first.
        base: The class of those who exceed none.
        labels: What people read instead of a class, by class and language.
        notes: What people should know of how it was made.
    """

    name: str
    rules: tuple[PointRule, ...]
    cap: float | None
    floor: float
    classes: tuple[tuple[str, float], ...]
    base: str
    labels: Labels
    notes: tuple[str, ...] = ()

    @property
    def points_column(self) -> str:
        return f"points_{self.name}"

    @property
    def class_column(self) -> str:
        return f"points_{self.name}_class"


@dataclass(frozen=True, eq=False)
class CompiledCard:
    """A card, and the quantity of each of its rules."""

    card: Card
    quantities: tuple[Quantity, ...]


@dataclass(frozen=True, eq=False)
class CompiledCards:
    """Cards whose rules were understood.

    Attributes:
        cards: In the order of the file.
        measures: Event functions that are no column of the catalogue; their columns must be in the frame.
        columns: Features, scores and attributes that they read.
    """

    cards: tuple[CompiledCard, ...]
    measures: tuple[Measure, ...]
    columns: frozenset[str]


def resolved_cards(config: Config) -> tuple[Card, ...]:
    """The cards of `[[points]]`, presets put in place.

    A rule of one's own with the name of a preset's rule takes its place; others come behind. Classes of one's own take
    the place of the preset's, labels are added to them.

    Raises:
        ConfigError: A preset without any of its event types in `[events]`, one that needs rules of one's own, labels of
            no class, cards with a column in common. All problems are named.
    """
    cards: list[Card] = []
    problems: list[str] = []
    for entry in config.points:
        preset = None if entry.preset is None else preset_card(entry.preset, config)
        card = _card(entry, preset)
        problems += (f"  points.{entry.name}: {problem}" for problem in _problems(entry, preset, card))
        cards.append(card)
    columns: dict[str, str] = {}
    for card in cards:
        for column in (card.points_column, card.class_column):
            other = columns.setdefault(column, card.name)
            if other != card.name:
                problems.append(f"  points.{card.name}: its column {column!r} is one of the card {other!r} too")
    if problems:
        raise ConfigError(
            "score cards that cannot be made\n" + "\n".join(problems),
            code="points-card",
            hint="Mend them in [[points]], and name the event types of the roles in [events].",
        )
    return tuple(cards)


def _card(entry: PointCard, preset: Preset | None) -> Card:
    given: dict[str, PointRule] = {} if preset is None else {rule.name: rule for rule in preset.rules}
    rules = {**given, **{rule.name: rule for rule in entry.rules}}
    own_base = preset is None or "base" in entry.model_fields_set or bool(entry.classes)
    classes = entry.classes if preset is None or entry.classes else preset.classes
    base = entry.base if own_base or preset is None else preset.base
    labels = {} if preset is None else {name: preset.labels[name] for name in preset.labels if name in {*classes, base}}
    for name, texts in entry.labels.items():
        labels[name] = {**labels.get(name, {}), **texts}
    notes: list[str] = [] if preset is None else list(preset.notes)
    if preset is not None and preset.roles:
        notes.append(f"rules of preset {entry.preset!r} left out, as [events] has no {', '.join(preset.roles)}")
    return Card(
        name=entry.name,
        rules=tuple(rules.values()),
        cap=entry.cap,
        floor=entry.floor,
        classes=tuple(sorted(classes.items(), key=lambda pair: -pair[1])),
        base=base,
        labels=labels,
        notes=tuple(notes),
    )


def _problems(entry: PointCard, preset: Preset | None, card: Card) -> Iterator[str]:
    if not card.rules and preset is not None and preset.roles:
        yield f"preset {entry.preset!r} needs one of {', '.join(preset.roles)} in [events]"
    elif not card.rules:
        yield f"preset {entry.preset!r} has classes alone; expected rules of its own"
    known = [*(name for name, _ in card.classes), card.base]
    if len(set(known)) < len(known):
        yield f"base: {card.base!r} is a class with a threshold already"
    unknown = [name for name in entry.labels if name not in known]
    if unknown:
        yield f"labels: no class {', '.join(map(repr, unknown))}; there are {', '.join(known)}"


def card_columns(cards: Sequence[Card]) -> dict[str, pl.DataType]:
    """Name and type of the columns of the cards: points (two decimals) and class of each, in the order of the file."""
    columns: dict[str, pl.DataType] = {}
    for card in cards:
        columns |= {card.points_column: pl.Float64(), card.class_column: pl.String()}
    return columns


def compile_cards(cards: Sequence[Card], scope: Scope) -> CompiledCards:
    """Understand the rules of cards.

    Args:
        cards: The cards.
        scope: Features, scores and attributes, without the columns of the cards themselves; segments play no part, as
            cards come before them.

    Raises:
        ConfigError: Event types, columns or conditions that do not exist or cannot be used, columns of the cards that
            are features or scores. All problems are named.
    """
    scope = replace(scope, segments=None)
    taken = [name for name in card_columns(cards) if name in scope.columns]
    problems = [f"  {name}: there is a feature, score or attribute of this name; rename the card" for name in taken]
    compiled: list[CompiledCard] = []
    for card in cards:
        read = [quantity_of(rule, scope, f"points.{card.name}.{rule.name}") for rule in card.rules]
        problems += [problem for _, found in read for problem in found]
        compiled.append(CompiledCard(card, tuple(quantity for quantity, _ in read if quantity is not None)))
    if problems:
        raise ConfigError(
            "rules of score cards that cannot be used\n" + "\n".join(problems),
            code="points-rule",
            hint="Mend them in [[points]]; `tamis features list` shows the columns.",
        )
    quantities = [quantity for card in compiled for quantity in card.quantities]
    return CompiledCards(
        cards=tuple(compiled),
        measures=tuple(dict.fromkeys(measure for quantity in quantities for measure in quantity.measures)),
        columns=frozenset().union(*(quantity.columns for quantity in quantities)),
    )


def apply_cards(compiled: CompiledCards, frame: pl.DataFrame) -> tuple[list[pl.Series], pl.DataFrame]:
    """Points and classes of users, and the ledger of what gave them.

    Points are added up in whole hundredths, so that the ledger's rows of a user and card sum to the card's points
    exactly; what cap and floor of a card change is the ledger's row `(cap)`.

    Args:
        compiled: The cards.
        frame: One row per user: `user_id`, the columns and measures that the cards read.

    Returns:
        For each card `points_<card>` (Float64, two decimals) and `points_<card>_class` (String) in the order of
        `frame`; and the ledger: `user_id`, `card`, `rule`, `quantity` (Float64: events or the value; null for a
        condition and for `(cap)`), `points` (Float64, two decimals, never 0), sorted by user, then in the order of the
        file.
    """
    columns: list[pl.Series] = []
    entries: list[Entry] = []
    values = _values(compiled, frame)
    for place, entry in enumerate(compiled.cards):
        card = entry.card
        total = np.zeros(frame.height, dtype=np.int64)
        for number, quantity in enumerate(entry.quantities):
            value = values[f"{place}.{number}"].to_numpy()
            points = points_of(value, quantity.rule)
            total += points
            entries.append(Entry(card.name, quantity.rule.name, value if quantity.shown else None, points))
        low = to_hundredths(np.array([card.floor]))
        bounded = np.maximum(total, low)
        if card.cap is not None:
            bounded = np.minimum(bounded, to_hundredths(np.array([card.cap])))
        entries.append(Entry(card.name, CAP_RULE, None, bounded - total))
        score = pl.Series(card.points_column, to_points(bounded), pl.Float64)
        columns += [score, class_of(card, score)]
    return columns, ledger_of(frame["user_id"], entries)


def class_of(card: Card, score: pl.Series) -> pl.Series:
    """The class of each score: the highest whose threshold it exceeds, else the base."""
    found = pl.lit(card.base)
    for name, threshold in reversed(card.classes):
        found = pl.when(pl.col(score.name) > threshold).then(pl.lit(name)).otherwise(found)
    # Without a threshold it is a constant, which `select` would not repeat for every user.
    return score.to_frame().with_columns(found.cast(pl.String).alias(card.class_column)).get_column(card.class_column)


def _values(compiled: CompiledCards, frame: pl.DataFrame) -> Mapping[str, pl.Series]:
    """The quantities of all rules, in one pass so that what they share is computed once; NaN where there is none."""
    named = [
        quantity.expr.cast(pl.Float64).fill_null(float("nan")).alias(f"{place}.{number}")
        for place, card in enumerate(compiled.cards)
        for number, quantity in enumerate(card.quantities)
    ]
    # A rule may be a constant, which is one row where columns are one per user.
    return frame.lazy().with_columns(named).select(expr.meta.output_name() for expr in named).collect().to_dict()
