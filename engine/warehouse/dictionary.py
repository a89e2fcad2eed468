"""Every published table of a date, described: what a row is, what tells rows apart, what each column means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from engine.config import Config
from engine.errors import ConfigError
from engine.features.catalogue import catalogue
from engine.features.measure import Measure
from engine.features.registry import FAMILIES
from engine.features.spec import FeatureSpec
from engine.points.cards import compile_cards, resolved_cards
from engine.rules.read import read_rule
from engine.suggest import did_you_mean
from engine.tables.layout import TABLES as PUBLISHED
from engine.tables.manifest import TableRecord
from engine.warehouse.measures import measure_text
from engine.warehouse.texts import AS_OF, SCORES, TABLES, Text
from engine.warehouse.types import ColumnType, column_type
from engine.why.published import Published
from engine.why.scope import scope_of, spec_of

PARTITION_KEYS: Final = {"segments": ("as_of", "segment")}
"""Keys that are in the path of a table's files; all others have `as_of` alone."""


@dataclass(frozen=True)
class Column:
    """A column of a table as a warehouse has it.

    Attributes:
        name: In the files, and in the path for a partition key.
        type: Its type.
        meaning: One sentence or two.
        unit: As of `engine.features.feature.Feature`; empty where there is none.
        required: Whether it is never null, in any run.
        partition: Whether it stands in the path and not in the files.
    """

    name: str
    type: ColumnType
    meaning: str
    unit: str = ""
    required: bool = False
    partition: bool = False

    @property
    def comment(self) -> str:
        """Meaning and unit on one line."""
        return f"{self.meaning} Unit: {self.unit}." if self.unit else self.meaning


@dataclass(frozen=True)
class Table:
    """A published table.

    Attributes:
        name: One of `engine.tables.layout.TABLES`.
        meaning: What a row is.
        key: Columns that tell rows apart, over all dates.
        columns: The partition keys, then the columns of the files in their order.
    """

    name: str
    meaning: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]


def describe(published: Published, config: Config, tables: Sequence[str] = ()) -> tuple[Table, ...]:
    """The tables of a date in the order of `engine.tables.layout.TABLES`.

    Args:
        published: The date.
        config: The configuration it was made with; what rules ask of events is told from it.
        tables: Names of those wanted; all when empty.

    Raises:
        ConfigError: The date has no table of a name, or a column of a type that no warehouse has.
    """
    records = chosen(published, tables)
    # Neither a bundle nor the configuration is needed to describe the other tables.
    needs = any(record.name in {"features", "segments"} for record in records)
    features = feature_texts(published, config) if needs else {}
    return tuple(described(record, features, _groups(published)) for record in records)


def chosen(published: Published, tables: Sequence[str]) -> tuple[TableRecord, ...]:
    """The records of the tables of some names, of all tables without names, in the order of the layout.

    Raises:
        ConfigError: The date has none of that name.
    """
    there = {record.name: record for record in published.manifest.tables}
    unknown = [name for name in tables if name not in there]
    if unknown:
        lines = [f"  {name!r}{did_you_mean(name, there)}" for name in unknown]
        raise ConfigError(
            f"tables that {published.as_of} does not have\n" + "\n".join(lines),
            code="table-unknown",
            hint=f"Tables of the date: {', '.join(sorted(there))}.",
        )
    return tuple(there[name] for name in PUBLISHED if name in there and (not tables or name in tables))


def feature_texts(published: Published, config: Config) -> dict[str, Text]:
    """The meaning of every feature that the events of a date allow, and of what its rules ask of events."""
    spec = spec_of(published, config)
    everything = replace(spec, families=tuple(family.name for family in FAMILIES))
    texts = {
        feature.name: Text(
            _with_window(feature.meaning, feature.window_days),
            feature.unit,
        )
        for feature in catalogue(everything)
    }
    for measure in _measures(published, config, spec):
        texts[measure.name] = measure_text(measure)
    return texts


def _with_window(meaning: str, days: int | None) -> str:
    if days is None or f" {days} days" in meaning:
        return meaning
    return f"{meaning} In the {days} days before as_of." if days > 1 else f"{meaning} On the day before as_of."


def _measures(published: Published, config: Config, spec: FeatureSpec) -> Iterator[Measure]:
    """What the rules of segments and score cards ask of events."""
    if published.table("segment_definitions") is None:
        return
    scope = scope_of(published, spec)
    for segment in published.segments:
        if segment.definition.where is not None:
            rule = read_rule(segment.definition.where, scope).rule
            yield from () if rule is None else rule.measures
    # Cards stand in the configuration alone, which may have changed since.
    with suppress(ConfigError):
        cards = resolved_cards(config)
        own = {name for card in cards for name in (card.points_column, card.class_column)}
        columns = {name: dtype for name, dtype in scope.columns.items() if name not in own}
        yield from compile_cards(cards, replace(scope, columns=columns)).measures


def _groups(published: Published) -> frozenset[str]:
    """Groups of segments, each of which is a column of the scores."""
    if published.table("segment_definitions") is None:
        return frozenset()
    return frozenset(one.definition.group for one in published.segments if one.definition.group is not None)


def described(
    record: TableRecord, features: Mapping[str, Text] | None = None, groups: frozenset[str] = frozenset()
) -> Table:
    """One table.

    Args:
        record: Its columns.
        features: What features mean, by name.
        groups: Groups of segments, each of which is a column of the scores.
    """
    text = TABLES[record.name]
    partitions = PARTITION_KEYS.get(record.name, ("as_of",))
    required = {*partitions, *text.key} - set(text.nullable_key)
    columns = [
        Column(
            name,
            column_type("Date" if name == "as_of" else "String", name),
            AS_OF.meaning if name == "as_of" else text.columns[name].meaning,
            AS_OF.unit if name == "as_of" else "",
            required=True,
            partition=True,
        )
        for name in partitions
    ]
    for name, dtype in record.schema:
        found = text.columns.get(name) or (features or {}).get(name) or _score(name, record.name, groups)
        columns.append(Column(name, column_type(dtype, name), found.meaning, found.unit, required=name in required))
    return Table(record.name, text.meaning, tuple(dict.fromkeys((partitions[0], *text.key))), tuple(columns))


def _score(name: str, table: str, groups: frozenset[str]) -> Text:
    """The meaning of a column whose name holds that of a target, a card or a group, or of a contact attribute."""
    if name in SCORES:
        return SCORES[name]
    if name in groups:
        return Text(f"The segment of the group {name!r} that the user is in; null for none.")
    if table == "features":
        return Text("Contact attribute, as the contacts have it.")
    return _ranked(name) or Text("Of another version of Tamis, which describes it.")


def _ranked(name: str) -> Text | None:
    start, _, rest = name.partition("_")
    if start == "points" and rest.endswith("_class"):
        return Text(f"Class that the points of the score card {rest.removesuffix('_class')!r} lead to.")
    if start == "points":
        return Text(f"Points of the score card {rest!r}.", "points")
    if start != "propensity":
        return None
    for end, meaning, unit in (
        ("percentile", "Per cent of the users of the fit who scored lower, 0 to 99, on target {!r}.", "points"),
        ("decile", "Tenth of the users of the fit by their score, 1 is the highest, on target {!r}.", "points"),
        ("class", "Class of the probability, by multiples of the base rate, of target {!r}.", ""),
        ("model", "Which model scored the user on target {!r}: full, or reduced for who lacks a purpose.", ""),
    ):
        if rest.endswith(f"_{end}"):
            return Text(meaning.format(rest.removesuffix(f"_{end}")), unit)
    return Text(f"Calibrated probability of target {rest!r}; null outside of its population.", "ratio")
