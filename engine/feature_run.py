"""The job that writes a table of features: nothing is learnt or published."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from engine.config import Config
from engine.execution.journal import journalled
from engine.execution.protocol import Executor
from engine.features.catalogue import catalogue
from engine.features.choice import feature_spec
from engine.identity import run_identity, run_mark
from engine.progress import Progress, track
from engine.record import RunRecord, TableSummary
from engine.stages.accounting import (
    Stopwatch,
    contact_counts,
    ingest_counts,
    reconcile,
    row_counts,
)
from engine.stages.accounts import account_files
from engine.stages.feature_table import FeatureTask, write_features
from engine.stages.features import provisional_wants
from engine.stages.forward import forward_shelf, keep_totals
from engine.stages.input import sample_files
from engine.stages.notices import quarantined_files, stale_log
from engine.stages.opening import check_unchanged, open_run
from engine.stages.permitting import consent_told, consent_warnings
from engine.stages.preparation import prepare, types_in_use
from engine.stages.sizing import bucket_sizes
from engine.tables.folder import check_empty, replaced_folder
from engine.tables.workspace import workspace


def features_run(
    config: Config, as_of: date, to: Path, *, executor: Executor, progress: Progress | None = None
) -> RunRecord:
    """Compute the features of every user and write them to a folder of their own; nothing is learnt or published.

    Args:
        config: The configuration; its targets, clusters and segments play no part.
        as_of: First day that is not used.
        to: The folder: `part-*.parquet`, sorted by user id; it must be empty or not there.
        executor: Where the tasks run.
        progress: Told how far each stage is.

    Raises:
        ConfigError: The configuration names what does not exist, or the folder holds something.
        DataError: The log cannot be used.
        IntegrityError: The input was changed during the run, or rows do not add up.
        ConflictError: Another run is writing to the same output.
    """
    watch = Stopwatch()
    to = to.absolute()
    check_empty(to)
    opened = open_run(config.model_copy(update={"targets": ()}))
    config, contacts = opened.config, opened.contacts
    run_id = run_identity("features", as_of, opened.fingerprints)
    with workspace(Path(config.out), run_id) as work, journalled(executor, work) as journal:
        with watch.stage("read"):
            journal.check_paths(work, sample_files(opened.given))
            types = types_in_use(config, opened.given, as_of, journal, progress)
            wanted = provisional_wants(config, types, contacts)
            prepared = prepare(
                config, opened.given, as_of, work=work, executor=journal, progress=progress, types=types, wanted=wanted
            )
        priced = frozenset(count.event_type for count in prepared.ingested.types if count.priced)
        spec = feature_spec(config, prepared.types, priced, contacts)
        shelf = forward_shelf(prepared, spec, Path(config.out))
        with watch.stage("features"), replaced_folder(to) as folder:
            part = None if prepared.contacts is None else prepared.contacts.part
            accounts = account_files(
                prepared, shelf, spec, (shelf.end_day,), work=work, executor=journal, progress=progress
            )
            tasks = [
                FeatureTask(
                    index, keys, portion, spec, str(folder), run_mark(run_id), part, accounts, prepared.asked.permits
                )
                for index, (keys, portion) in enumerate(prepared.portions(shelf))
            ]
            on_done = track(progress, "features", len(tasks), journal.tally)
            sizes = bucket_sizes(prepared, len(catalogue(spec)))
            buckets = journal.map(write_features, tasks, on_done=on_done, small=True, sizes=sizes)
            reconcile(prepared, buckets)
            check_unchanged(opened)
        keep_totals(prepared, shelf, [bucket.standing for bucket in buckets], Path(config.out))
    files = [bucket.file for bucket in buckets]
    counts = {
        "rows": row_counts(prepared.ingested),
        **ingest_counts(prepared.ingested),
        "users": sum(bucket.users for bucket in buckets),
        **({} if spec.account is None else contact_counts(prepared, buckets)),
        **consent_told(config, prepared, buckets),
        "rolled_up": {"units": prepared.rolled[0], "rows": prepared.rolled[1]},
        "warnings": [
            *stale_log(config, prepared.ingested.last_day, as_of),
            *quarantined_files(prepared.ingested.quarantined),
            *consent_warnings(prepared),
        ],
    }
    table = TableSummary(str(to), counts["users"], len(files), sum(file.bytes for file in files))
    return RunRecord(run_id, as_of, counts, watch.timings(), {"features": table})
