"""`tamis validate`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.console import clean, plural, print_json, print_table, shown_path, write
from jobs.options import DEFAULT_CONFIG, Address, AsJson, Assignments, ConfigFile, ExecutorName, Out, Quiet
from jobs.session import Settings, load, parse_day, session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.validation import Validation
    from engine.validation_groups import Group
    from engine.validation_table import Matured

_NAMES = {
    "base_rate": "rate of the event",
    "auc": "AUC",
    "average_precision": "average precision",
    "log_loss": "log loss",
    "brier": "Brier score",
    "ece": "calibration error",
    "lift": "lift of the top tenth",
}


def validate(
    *,
    as_of: Annotated[
        list[str], typer.Option("--as-of", metavar="YYYY-MM-DD", help="Date of a published run; repeatable.")
    ],
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by",
            metavar="COLUMN",
            help="Also per value of a published column: segment, rfm_segment, cluster, …; repeatable.",
        ),
    ] = None,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    executor: ExecutorName = None,
    address: Address = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Compare the published scores of past dates with what happened in the horizon after them."""
    days = sorted({parse_day(text) for text in as_of})
    loaded = load(config, Settings(assignments or (), out, executor, address))
    from engine.validation import validate_run
    from jobs.summary import print_warnings

    found = []
    with session(loaded.config, quiet=quiet) as run:
        for day in days:
            found.append(validate_run(run.config, day, executor=run.executor, progress=run.progress, by=by or ()))
            if not quiet:
                print_warnings(found[-1].record)
            if not quiet and not as_json:
                _print_validation(found[-1])
    if as_json:
        print_json({"validations": [entry.record.to_dict() for entry in found]})


def _print_validation(validation: Validation) -> None:
    for entry in validation.matured:
        _print_target(entry)
        for column, groups in entry.groups:
            _print_groups(column, groups)
    for name, table in validation.record.tables.items():
        write(sys.stdout, f"\n{name}: {plural(table.rows, 'row')} in {shown_path(table.path)}")


def _print_target(entry: Matured) -> None:
    row = entry.row()
    target = entry.target
    condition = "" if target.where is None else f" with {target.where}"
    what = f"{'no ' if target.absent else ''}{target.event}{condition} within {plural(target.horizon_days, 'day')}"
    write(sys.stdout, clean(f"\nScores of {entry.as_of}, {target.name}: {what}"))
    scored = f"{entry.counts.rows:,} of {plural(entry.published, 'published user')} had a score"
    predicted = "" if entry.predicted_rate is None else f"; {entry.predicted_rate:.2%} was predicted on average"
    write(sys.stdout, f"  {scored}, it came true for {entry.counts.positives:,}{predicted}")
    if row["measured_rows"] < entry.counts.rows:
        write(sys.stdout, f"  measured on a sample of {plural(row['measured_rows'], 'user')}")
    print_table(
        ("  measure", "at training", "realised", "95 % interval"),
        [
            (f"  {title}", _number(row[f"{name}_at_training"]), _number(row[name]), _interval(row, name))
            for name, title in _NAMES.items()
        ],
    )


def _print_groups(column: str, groups: Sequence[Group]) -> None:
    write(sys.stdout, "")
    titles = ("users", "came true", "rate", "95 % interval", "predicted", "AUC", "95 % interval", "lift")
    lines = []
    for group in groups:
        row = group.row()
        rates, auc, lift = (_interval(row, name) for name in ("base_rate", "auc", "lift"))
        figures = (_number(row["base_rate"]), rates, _number(row["predicted_rate"]), _number(row["auc"]), auc)
        value = "–" if group.value is None else group.value
        lines.append((f"  {value}", row["rows"], row["positives"], *figures, _number(row["lift"]), lift))
    print_table((f"  by {clean(column)}", *titles, "95 % interval"), lines)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _interval(row: dict[str, float | None], name: str) -> str:
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    return "–" if low is None or high is None else f"{low:.3f} to {high:.3f}"
