"""What a run did, told in the terminal: where the rows went, the segments, the models, the tables."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.console import clean, plural, print_table, say, shown_path, write

if TYPE_CHECKING:
    from datetime import date

    from engine.propensity.spec import ModelSpec
    from engine.record import RunRecord

_TOP_FEATURES = 3
_TOLD = {
    "rows",
    "events",
    "users",
    "segments",
    "memberships",
    "ledger",
    "models",
    "kept_models",
    "kept_value",
    "refit",
    "clusters",
    "warnings",
    "sources",
    "event_types",
    "rejected",
    # A warning names the files.
    "quarantined",
    "ledger_corrected",
    "table_version",
}


def print_warnings(record: RunRecord) -> None:
    """The record's warnings, on stderr."""
    for warning in record.counts.get("warnings", ()):
        say(f"warning: {warning}")


def print_summary(record: RunRecord) -> None:
    """Everything a person wants to know of a run, on stdout."""
    counts = record.counts
    write(sys.stdout, f"run {record.run_id}" + (f" as of {record.as_of}" if record.as_of else ""))
    if "refit" in counts:
        print_refit(counts["refit"])
    print_rows(counts, record.as_of)
    print_events(counts, record.as_of)
    if "segments" in counts:
        print_segments(counts)
    if "clusters" in counts:
        print_clusters(counts["clusters"])
    fitted = _fitted(record)
    # A bundle that was only used was told about when it was made.
    if fitted is not None and "models" in counts:
        for spec in fitted[1]:
            print_model(spec)
    others = {name: value for name, value in counts.items() if name not in _TOLD and value not in ({}, [], ())}
    if others:
        write(sys.stdout, "")
        print_table(("count", ""), list(_flat(others)))
    if record.tables:
        write(sys.stdout, "")
        rows = [
            (name, table.rows, table.files, size_text(table.bytes), shown_path(table.path))
            for name, table in record.tables.items()
        ]
        print_table(("table", "rows", "files", "size", "path"), rows)
    if record.bundle:
        write(sys.stdout, f"\nbundle {shown_path(record.bundle)}" + _age(record, fitted))
    if record.timings:
        listed = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in record.timings.items())
        write(sys.stdout, f"\ntime   {listed}")


def print_refit(refit: Mapping[str, Any]) -> None:
    """Whether a fit was due, and the figures that say so."""
    write(sys.stdout, "\nA fit was due:" if refit["due"] else "\nNo fit is due; nothing was learnt:")
    for line in refit["reasons"]:
        write(sys.stdout, f"  {clean(line)}")


def print_rows(counts: Mapping[str, Any], as_of: date | None, *, lines: str = "more lines of the same orders") -> None:
    """One sentence that adds up: every row that was read, and what became of it.

    Args:
        counts: Of a run's record.
        as_of: First day that was not used.
        lines: What the rows are called that were summed into the row of their order.
    """
    rows = counts.get("rows")
    if not rows:
        return
    parts = [
        ("kept", "events kept"),
        ("passed", "can be used"),
        ("merged", lines),
        ("after_as_of", f"at or after {as_of}" if as_of else ""),
        ("duplicate", "duplicates"),
        ("rejected", "rejected"),
        ("excluded", "of excluded users"),
        ("erased", "of people who were erased"),
        ("left_out", "left out"),
    ]
    told = [
        f"{rows[name]:,} {words}"
        for name, words in parts
        if words and name in rows and (rows[name] or name != "merged")
    ]
    if "read" in rows:
        write(sys.stdout, f"\n{rows['read']:,} rows read = " + " + ".join(told))
    else:
        write(sys.stdout, "\nrows: " + ", ".join(told))
    for source, rules in counts.get("rejected", {}).items():
        listed = ", ".join(f"{count:,} {rule}" for rule, count in rules.items())
        write(sys.stdout, f"  rejected of {source}: {listed}")


def print_events(counts: Mapping[str, Any], as_of: date | None) -> None:
    """Events per type that were kept, and how many of them cost nothing; without these counts, rows per type."""
    events, types = counts.get("events"), counts.get("event_types")
    if events:
        write(sys.stdout, f"\nEvents before {as_of}")
        listed = [(name, kinds["kept"], kinds["zero_amount"]) for name, kinds in events.items()]
        print_table(("event type", "kept", "of which free"), listed)
    elif types:
        write(sys.stdout, "")
        print_table(("event type", "rows"), list(types.items()))


def print_segments(counts: Mapping[str, Any], *, users: str = "users") -> None:
    """Users of each segment, their share and their mean spend.

    Args:
        counts: Of a run's record.
        users: What users are called.
    """
    total = counts.get("users") or sum(size["users"] for size in counts["segments"].values())
    ledger = counts.get("ledger", {})
    moves = ledger.get("previous") is not None
    since = ("entered", "left") if moves else ()

    def moved(name: str) -> tuple[int, ...]:
        return (ledger["entries"].get(name, 0), ledger["exits"].get(name, 0)) if moves else ()

    write(sys.stdout, f"\nSegments: {total:,} {users}, each in one")
    print_table(
        ("segment", users, "share", "mean spend", *since),
        [
            (name, size["users"], _percent(size["users"], total), _money(size.get("mean_spend")), *moved(name))
            for name, size in counts["segments"].items()
        ],
    )
    others = {name: size for name, size in counts.get("memberships", {}).items() if name not in counts["segments"]}
    others = {name: size for name, size in others.items() if size or any(moved(name))}
    if others:
        write(sys.stdout, "\nOther groups and tags")
        rows = [(name, size, _percent(size, total), *moved(name)) for name, size in others.items()]
        print_table(("segment", users, "share", *since), rows)
    if moves:
        write(sys.stdout, f"entered and left since {ledger['previous']['as_of']}")
    corrected = counts.get("ledger_corrected", ())
    if corrected:
        write(sys.stdout, f"\nMemberships of later dates were corrected: {', '.join(corrected)}")


def print_clusters(clusters: Mapping[str, Any], *, users: str = "users") -> None:
    """The clusters of a fit, and what became of those before.

    Args:
        clusters: Of a fit's counts.
        users: What users are called.
    """
    figure = clusters["silhouette"]
    write(sys.stdout, "\nClusters" + ("" if figure is None else f": silhouette {figure:.3f}"))
    events: dict[int, list[str]] = {}
    for event in clusters["events"]:
        others = ", ".join(str(other) for other in event["others"])
        events.setdefault(event["cluster"], []).append(f"{event['event']} {others}".strip())
    rows = [
        (str(of["cluster"]), of["name"], of["users"], f"{of['share']:.1%}", "; ".join(events.pop(of["cluster"], [])))
        for of in clusters["clusters"]
    ]
    print_table(("cluster", "name", users, "share", "since the fit before"), rows)
    for cluster, told in events.items():
        write(sys.stdout, f"  cluster {cluster}: {'; '.join(told)}")
    if clusters["moved_share"] is not None:
        write(sys.stdout, f"  {clusters['moved_share']:.1%} of the {users} changed their cluster")


def print_model(spec: ModelSpec, *, users: str = "users") -> None:
    """What a model predicts, and how well it did on days later than all it learnt from."""
    measured, baseline, target = spec.metrics, spec.baseline, spec.target
    intervals = dict(spec.intervals)
    what = f"{'no ' if target.absent else ''}{target.event}{f' with {target.where}' if target.where else ''}"
    whom = f", of those with {target.population}" if target.population else ""
    write(sys.stdout, f"\nModel {target.name}: {what} within {plural(target.horizon_days, 'day')}{whom}")
    days = [str(day) for day in spec.test_anchors]
    at = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    write(
        sys.stdout,
        f"  on {measured.rows:,} {users} at {at}, later than all it learnt from"
        f" ({measured.positives:,} did it, {measured.base_rate:.1%}):",
    )

    def row(label: str, name: str, of_model: str, of_baseline: str, of_base_rate: str) -> tuple[str, ...]:
        interval = intervals.get(name)
        digits = 1 if name == "lift" else 4 if name == "brier" else 3
        between = "" if interval is None else f"{interval.low:.{digits}f} to {interval.high:.{digits}f}"
        return f"  {label}", of_model, between, of_baseline, of_base_rate

    print_table(
        ("  measure", "model", "95 % interval", "logistic", "base rate"),
        [
            row("AUC", "auc", _figure(measured.auc), _figure(baseline.auc), "0.500"),
            row(
                "average precision",
                "average_precision",
                _figure(measured.average_precision),
                _figure(baseline.average_precision),
                _figure(measured.base_rate),
            ),
            row(
                "log loss",
                "log_loss",
                _figure(measured.log_loss),
                _figure(baseline.log_loss),
                _figure(measured.base_log_loss),
            ),
            row(
                "Brier score",
                "brier",
                _figure(measured.brier, 4),
                _figure(baseline.brier, 4),
                _figure(measured.base_brier, 4),
            ),
            row("calibration error", "ece", _figure(measured.ece), _figure(baseline.ece), ""),
            row(
                "lift of the top tenth",
                "lift",
                _figure(next(iter(measured.lift_by_decile), None), 1),
                _figure(next(iter(baseline.lift_by_decile), None), 1),
                "1.0",
            ),
        ],
    )
    telling = ", ".join(name for name, _ in spec.importance[:_TOP_FEATURES])
    write(sys.stdout, f"  most telling features: {telling}")


def _figure(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _fitted(record: RunRecord) -> tuple[date, Iterable[ModelSpec]] | None:
    """The day of the record's bundle, and its models."""
    if record.bundle is None or not Path(record.bundle).is_dir():
        return None
    from engine.bundle import load_bundle

    bundle = load_bundle(Path(record.bundle))
    return bundle.as_of, [model.spec for model in bundle.models]


def _age(record: RunRecord, fitted: tuple[date, Iterable[ModelSpec]] | None) -> str:
    if fitted is None:
        return ""
    return f", fitted as of {fitted[0]}" + ("" if "models" in record.counts else ", used again")


def _percent(part: int, total: int) -> str:
    return f"{part / total:.1%}" if total else "–"


def _money(value: float | None) -> str:
    return "–" if value is None else f"{value:,.2f}"


def _flat(values: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Nested counts as rows: `contacts.read`."""
    if not isinstance(values, dict):
        yield prefix, values
        return
    for key, value in values.items():
        yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))


def size_text(count: int) -> str:
    """`12 B`, `1.2 kB`, `3.4 GB`."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
