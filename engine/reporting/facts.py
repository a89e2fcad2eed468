"""Everything that a report is made from: manifests, small published tables, the bundle, validations, run records.

Nothing per user is read, so a report of ten million users takes as long as one of a thousand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import polars as pl

from engine.bundle import Bundle
from engine.config_segments import PRIMARY
from engine.errors import ConfigError
from engine.reporting import facts_files
from engine.reporting.causes import cause_names
from engine.reporting.learnt_names import learnt_names
from engine.reporting.masking import OTHERS, hidden_rows
from engine.reporting.numbers import Language
from engine.reporting.words import texts
from engine.segments.before import from_counts
from engine.segments.kpis import ALL_USERS
from engine.segments.labels import labels_of
from engine.suggest import did_you_mean, some_of
from engine.tables.manifest import Manifest
from engine.why.published import published_dates

MIN_CELL: Final = 10
"""People that a cell has at least when nothing else is configured."""

NEW: Final = "(new)"
GONE: Final = "(gone)"
"""Where users come from who were not there before, and where those are who no longer are."""

NO_SEGMENTS: Final[Mapping[str, str]] = {
    ALL_USERS: "masking.all_users",
    OTHERS: "masking.others",
    NEW: "masking.new",
    GONE: "masking.gone",
}
"""Names that stand among segments and are none, and their texts."""

MOST_DATES: Final = 400
"""Dates of the trends: the last so many."""

MOST_ROW_DATES: Final = 100
"""Dates whose manifests are read for the quality of the log: the last so many."""


@dataclass(frozen=True, eq=False)
class DateFacts:
    """What is known of one published date.

    Attributes:
        manifest: What was published, and the counts of the run.
        tables: The small tables of the date by name; those that it does not have are missing. See
            `engine.reporting.facts_files.SMALL`.
    """

    manifest: Manifest
    tables: Mapping[str, pl.DataFrame]

    @property
    def as_of(self) -> date:
        return self.manifest.as_of

    @property
    def counts(self) -> Mapping[str, Any]:
        """Rows, events, users, segments, memberships, ledger, rejected, sources, warnings, … of the run's record."""
        return self.manifest.counts

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the run warned of, one English sentence each."""
        found = self.counts.get("warnings")
        return tuple(line for line in found if isinstance(line, str)) if isinstance(found, list) else ()

    @property
    def users(self) -> int | None:
        """Users of the run."""
        found = self.counts.get("users")
        return found if isinstance(found, int) else None

    @property
    def kpis(self) -> pl.DataFrame | None:
        """`segment_kpis`: key `segment`, the row `(all users)` first; columns of `engine.segments.kpis.KPI_SCHEMA`."""
        return self.tables.get("segment_kpis")

    @property
    def definitions(self) -> pl.DataFrame | None:
        """`segment_definitions`: key `segment`; columns of `engine.segments.definitions.DEFINITIONS_SCHEMA`."""
        return self.tables.get("segment_definitions")

    @property
    def composition(self) -> pl.DataFrame | None:
        """`segment_composition`: key `segment`, `column`, `bin`; columns of `COMPOSITION_SCHEMA`."""
        return self.tables.get("segment_composition")

    @property
    def drift(self) -> pl.DataFrame | None:
        """`drift`: key `column`; psi and chance against the fit."""
        return self.tables.get("drift")

    @property
    def flows(self) -> pl.DataFrame | None:
        """`segment_flows`: moves within groups since `flows_since`; columns of `engine.ledger.flows.FLOW_SCHEMA`."""
        return self.tables.get("segment_flows")

    @property
    def grid(self) -> pl.DataFrame | None:
        """`rfm_grid`: key `r_score`, `f_score`; `users` and sums of spend."""
        return self.tables.get("rfm_grid")

    @property
    def distribution(self) -> pl.DataFrame | None:
        """`score_distribution`: users by bins of scores."""
        return self.tables.get("score_distribution")

    @property
    def sizes(self) -> dict[str, int]:
        """Users by segment, of all groups and tags; of the manifest where there are no key figures."""
        if self.kpis is None:
            return from_counts(self.counts)
        rows = self.kpis.filter(pl.col("segment") != ALL_USERS)
        return dict(zip(rows["segment"].to_list(), rows["users"].to_list(), strict=True))

    @property
    def flows_since(self) -> date | None:
        """The date with which entries, exits and flows compare; None on the first one."""
        ledger = self.counts.get("ledger")
        previous = ledger.get("previous") if isinstance(ledger, dict) else None
        day = previous.get("as_of") if isinstance(previous, dict) else None
        return date.fromisoformat(day) if isinstance(day, str) else None

    def moved(self, direction: str) -> dict[str, int] | None:
        """Users by segment that came (`entries`) or left (`exits`) since `flows_since`; None on the first date."""
        ledger = self.counts.get("ledger")
        found = ledger.get(direction) if isinstance(ledger, dict) and self.flows_since else None
        return dict(found) if isinstance(found, dict) else None


@dataclass(frozen=True, eq=False)
class Facts:
    """What a report is made from; what is not there is None or empty, never made up.

    Attributes:
        out: The output root.
        now: The date of the report.
        before: The date to compare with; None on the first one.
        dates: All published dates, ascending, those after the report too.
        history: Sizes and values up to the date, `MOST_DATES` dates at most: key `as_of` (Date), `segment` (the row of
            all users is `(all users)`); `users` Int64, `revenue`, `mean_value`, `total_value` Float64 in major units
            (null where a date has no key figures); sorted by both.
        bundle: What scored the date; None when there was none, or when it is gone or of another version.
        bundle_id: Its id, also when it is gone.
        documents: JSON documents of the bundle's folder as they are, by name: `bundle.json`, `clusters.json`,
            `value.json`, `targets/<name>/model.json`; those that cannot be read are missing.
        validation: What became of published scores, by target: the table `validation`, one row per validated date up
            to the latest, ascending; see `engine.validation_table.SCHEMA`. Empty when no date was validated.
        validation_segments: The same for groups of users, by target and column; `engine.validation_groups.SCHEMA`.
        records: Records of runs (`<out>/_runs/*.json`) as they are, the last first; empty when there are none.
        rows: What became of the rows of the log up to the date, `MOST_ROW_DATES` dates at most: key `as_of` (Date),
            `outcome`; `rows` Int64 of all `read`; sorted by both.
        min_cell: A row of fewer people is not shown.
    """

    out: Path
    now: DateFacts
    before: DateFacts | None
    dates: tuple[date, ...]
    history: pl.DataFrame
    bundle: Bundle | None = None
    bundle_id: str | None = None
    documents: Mapping[str, Any] = field(default_factory=dict)
    validation: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    validation_segments: Mapping[tuple[str, str], pl.DataFrame] = field(default_factory=dict)
    records: tuple[Mapping[str, Any], ...] = ()
    rows: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=facts_files.ROWS))
    min_cell: int = MIN_CELL

    @property
    def as_of(self) -> date:
        """The date of the report."""
        return self.now.as_of

    @property
    def compare(self) -> date | None:
        """The date that is compared with."""
        return None if self.before is None else self.before.as_of

    @cached_property
    def groups(self) -> dict[str, str | None]:
        """Group of each segment; None for tags. Of dates without definitions: of the key figures."""
        frame = self.now.definitions if self.now.definitions is not None else self.now.kpis
        if frame is None:
            return {}
        rows = zip(frame["segment"].to_list(), frame["group"].to_list(), strict=True)
        return {name: group for name, group in rows if name != ALL_USERS}

    @property
    def primary(self) -> tuple[str, ...]:
        """Segments of the primary group, the largest first."""
        sizes = self.now.sizes
        names = [name for name, group in self.groups.items() if group == PRIMARY] if self.groups else list(sizes)
        return tuple(sorted(names, key=lambda name: (-sizes.get(name, 0), name)))

    @cached_property
    def best(self) -> str | None:
        """The best segment: of the primary ones of `min_cell` users or more, that of the highest spend per head.

        Spend is that of the whole history (`mean_value`), with the names deciding between equals. None where nothing
        is known of spend.
        """
        return best_segment(self.now, self.primary, self.min_cell)

    def names(self, language: Language) -> dict[tuple[str, str], str]:
        """What names are called in a language, as `Voice` wants it.

        Vocabularies: segments (`segment`), causes of moves (`cause`), and those of
        `engine.reporting.learnt_names.learnt_names`.
        """
        called = {("segment", name): texts(language)[key] for name, key in NO_SEGMENTS.items()}
        called |= {("direction", name): texts(language)[f"fields.{name}"] for name in ("entries", "exits")}
        for side in (self.before, self.now):
            sizes = () if side is None else side.sizes
            called |= {("segment", name): dict(labels_of(name)).get(language, name) for name in sizes}
            frame = None if side is None else side.definitions
            if frame is not None and f"label_{language}" in frame.columns:
                rows = zip(frame["segment"].to_list(), frame[f"label_{language}"].to_list(), strict=True)
                called |= {("segment", name): label for name, label in rows if label}
        return called | cause_names(self.now.flows, language) | learnt_names(self.bundle, language)


def best_segment(side: DateFacts, primary: tuple[str, ...], min_cell: int) -> str | None:
    """The primary segment of the highest mean value per head among those that are shown; None without values."""
    if side.kpis is None:
        return None
    rows = side.kpis.filter(pl.col("segment").is_in(primary))
    shown = [not gone for gone in hidden_rows(rows["users"].to_list(), min_cell)]
    rows = rows.filter(pl.Series(shown, dtype=pl.Boolean), pl.col("mean_value").is_not_null())
    rows = rows.sort("mean_value", "segment", descending=[True, False])
    return None if rows.is_empty() else str(rows["segment"][0])


def read_facts(out: Path, as_of: date, compare: date | None = None, *, min_cell: int = MIN_CELL) -> Facts:
    """Everything that a report needs; only small files are read.

    Args:
        out: The output root.
        as_of: A published date.
        compare: A published date to compare with; when not given, the published date before.
        min_cell: A row of fewer people is not shown.

    Raises:
        ConfigError: A date is not published.
        IntegrityError: A manifest is damaged.
    """
    dates = tuple(published_dates(out))
    _check_dates(out, dates, as_of, compare)
    if compare is None:
        compare = max((day for day in dates if day < as_of), default=None)
    manifest, tables = facts_files.read_date(out, as_of)
    now = DateFacts(manifest, tables)
    before = None if compare is None else DateFacts(*facts_files.read_date(out, compare))
    folder = None if manifest.bundle is None else facts_files.bundle_folder(out, manifest.bundle)
    return Facts(
        out=out,
        now=now,
        before=before,
        dates=dates,
        history=facts_files.read_history(out, [day for day in dates if day <= as_of][-MOST_DATES:]),
        bundle=None if folder is None else facts_files.read_bundle(folder),
        bundle_id=manifest.bundle,
        documents={} if folder is None else facts_files.read_documents(folder),
        validation=facts_files.read_validation(out),
        validation_segments=facts_files.read_validation_segments(out),
        records=facts_files.read_records(out),
        rows=facts_files.read_rows(out, [day for day in dates if day <= as_of][-MOST_ROW_DATES:]),
        min_cell=min_cell,
    )


def _check_dates(out: Path, dates: tuple[date, ...], as_of: date, compare: date | None) -> None:
    problems = [
        f"  {what}: nothing is published for {day}{did_you_mean(day.isoformat(), known)}"
        for what, day in (("--as-of", as_of), ("--compare", compare))
        if day is not None and day not in dates
        for known in ([each.isoformat() for each in dates],)
    ]
    if compare is not None and compare == as_of:
        problems.append(f"  --compare: {compare} is the date of the report itself")
    if problems:
        shown = some_of([day.isoformat() for day in reversed(dates)]) if dates else "none"
        raise ConfigError(
            f"a report of {out} cannot be made\n" + "\n".join(problems),
            code="report-date",
            hint=f"Published dates, the last first: {shown}.",
        )
