"""The jobs from top to bottom: a log becomes published segment tables, a table of features, or a count of its rows."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date
from functools import reduce
from pathlib import Path
from typing import Any

from engine.bundle import bundle_id, load_bundle
from engine.bundle_store import check_bundle, current_bundle, find_bundle, nothing_promoted
from engine.check_run import check_run
from engine.config import Config
from engine.config_segments import PRIMARY
from engine.erasure.first import finish_erasures_first
from engine.errors import HeldError
from engine.execution.journal import journalled
from engine.execution.protocol import Executor
from engine.execution.sizes import ledger_size
from engine.feature_run import features_run
from engine.features.catalogue import catalogue
from engine.features.measures import needs_rows
from engine.features.windows import day_number
from engine.fitting import conditions_of, fit_opened, fit_run
from engine.formats.commit import check_format, commit_run
from engine.history import events
from engine.identity import learning_hashes, run_identity, run_mark
from engine.ledger.bucket import ledger_bucket, ledger_counts, ledger_tasks
from engine.ledger.cascade import correct_later, ledger_records, note_publish
from engine.ledger.previous import KEY_COUNT, check_user_type, find_previous
from engine.progress import Progress, track
from engine.record import RunRecord, TableSummary
from engine.rollups.totals import event_counts
from engine.schedule.late import input_marks
from engine.segments.before import to_counts
from engine.segments.definitions import definitions
from engine.segments.findings import check_accepted
from engine.segments.static_lists import linked_lists, list_notes
from engine.segments.stats import add
from engine.stages.accounting import (
    Stopwatch,
    contact_counts,
    ingest_counts,
    reconcile,
    row_counts,
    segment_counts,
    stage_table,
    table_records,
)
from engine.stages.accounts import account_files
from engine.stages.cluster_notices import cluster_alarms
from engine.stages.drift import compare
from engine.stages.features import wanted_of
from engine.stages.forward import forward_shelf, keep_totals
from engine.stages.guarding import guarded, segment_tables
from engine.stages.input import read_links, sample_files
from engine.stages.memberships import staged_lists, staged_scored, unknown_in_lists
from engine.stages.notices import score_warnings
from engine.stages.opening import Opened, check_unchanged, open_run
from engine.stages.permitting import consent_told, consent_warnings
from engine.stages.preparation import prepare
from engine.stages.quality import with_quality
from engine.stages.registering import register_score
from engine.stages.schemas import bundle_schema
from engine.stages.score_tables import score_tables
from engine.stages.scoring import ScoreTask, check_attributes, check_finite, check_user_ids, score_bucket
from engine.stages.segmenting import applied_of, compile_applied, segments_hash
from engine.stages.sizing import bucket_sizes
from engine.stages.user_tables import user_tables
from engine.stages.writing import check_staged, write_scored
from engine.tables.layout import table_folder
from engine.tables.manifest import Manifest
from engine.tables.publish import publish
from engine.tables.schema_policy import TABLE_VERSION, check_schemas
from engine.tables.workspace import workspace

__all__ = ["check_run", "features_run", "fit_run", "run", "score_run"]


def score_run(
    config: Config,
    as_of: date,
    *,
    executor: Executor,
    bundle: Path | None = None,
    accept: Collection[str] = (),
    progress: Progress | None = None,
) -> RunRecord:
    """Compute features, score every user with the bundle, assign segments and publish the tables of one date.

    The same log, configuration, bundle and date give the same files, byte for byte, on any executor; they replace what
    was published for the date in one instant per table.

    Args:
        config: The configuration.
        as_of: First day that is not used.
        executor: Where the tasks run.
        bundle: Folder of the bundle; when None, the latest one of the output root that was fitted on or before `as_of`
            with this configuration, however old.
        accept: Guards (`jump`, or `jump:segment`) whose findings do not hold the publish back.
        progress: Told how far each stage is.

    Raises:
        ConfigError: No bundle, one fitted with another configuration or later, or names that do not exist.
        DataError: The log cannot be used.
        IntegrityError: The bundle is damaged, the input was changed during the run, or rows do not add up.
        ConflictError: Another run is writing to the same output.
        HeldError: A guard found what a person should look at; nothing was published.
    """
    watch = Stopwatch()
    finish_erasures_first(config)
    out = Path(config.out)
    folder = bundle or current_bundle(out)
    if folder is None:
        raise nothing_promoted(out)
    opened = open_run(config)
    if bundle is None:
        # When none fits, the current one says why.
        folder = find_bundle(out, as_of, conditions_of(opened)) or folder
    return _score(opened, as_of, folder, _Session(executor, progress, tuple(accept)), watch)


@dataclass(frozen=True)
class _Session:
    executor: Executor
    progress: Progress | None
    accept: tuple[str, ...]
    next_as_of: date | None = None


def _score(opened: Opened, as_of: date, folder: Path, how: _Session, watch: Stopwatch) -> RunRecord:
    config, out, progress = opened.config, Path(opened.config.out), how.progress
    fitted = load_bundle(folder)
    check_bundle(fitted, folder, as_of, learning_hashes(config))
    contacts = check_attributes(fitted, opened.contacts)
    check_user_ids(fitted, opened.given.user_dtype)
    check_user_type(out, as_of, opened.given.user_dtype, opened.given.ids.pseudonyms_of)
    applied = applied_of(config, fitted.spec, contacts)
    compiled = compile_applied(applied, bundle_schema(fitted), as_of)
    spec, plan = applied.spec, compiled.plan
    changes = check_schemas(out, as_of, user_tables(fitted, applied, compiled, contacts), config.publish.table_version)
    check_accepted(how.accept, plan.definitions)
    check_format(config)
    lists = linked_lists(opened.lists, read_links(config, opened.given))
    fingerprints = {**opened.fingerprints, "bundle": bundle_id(folder), "segments": segments_hash(plan.definitions)}
    run_id = run_identity("score", as_of, fingerprints)
    mark = run_mark(run_id)
    with workspace(out, run_id) as work, journalled(how.executor, work) as executor:
        with watch.stage("read"):
            executor.check_paths(work, sample_files(opened.given))
            prepared, quality = with_quality(
                prepare(
                    config,
                    opened.given,
                    as_of,
                    work=work,
                    executor=executor,
                    progress=progress,
                    types=tuple(kind.name for kind in fitted.spec.types if kind.of is None),
                    wanted=wanted_of(spec, config.targets, compiled.measures),
                    rejects=table_folder(work, "rejects", as_of),
                ),
                config,
                as_of,
            )
        rekeyed = len(prepared.index.rekeyed)
        before = find_previous(out, as_of, rekeyed=rekeyed)
        shelf = forward_shelf(prepared, spec, out, rows=needs_rows(compiled.measures))
        with watch.stage("score"):
            accounts = account_files(
                prepared, shelf, spec, (shelf.end_day,), work=work, executor=executor, progress=progress
            )
            listed = staged_lists(lists, work)
            tasks = [
                ScoreTask(
                    bucket=index,
                    keys=keys,
                    shelf=portion,
                    contacts=None if prepared.contacts is None else prepared.contacts.part,
                    as_of=as_of,
                    bundle=str(folder.absolute()),
                    applied=applied,
                    staging=str(work),
                    mark=mark,
                    threads=executor.threads,
                    accounts=accounts,
                    lists=listed,
                    previous=before if plan.tenures else None,
                    cluster_names=tuple(config.clusters.names.items()),
                    permits=prepared.asked.permits,
                )
                for index, (keys, portion) in enumerate(prepared.portions(shelf))
            ]
            buckets = executor.map(
                score_bucket,
                tasks,
                on_done=track(progress, "score", len(tasks), executor.tally),
                sizes=bucket_sizes(prepared, len(catalogue(spec))),
            )
        check_finite(buckets)
        reconcile(prepared, buckets)
        users = sum(bucket.users for bucket in buckets)
        segment_names = [one.name for one in plan.definitions if one.group == PRIMARY and one.kind != "fallback"]
        counts: dict[str, Any] = {
            "rows": row_counts(prepared.ingested),
            **ingest_counts(prepared.ingested),
            "events": event_counts(prepared.index.entries, day_number(as_of), prepared.types),
            "users": users,
            **({} if prepared.index.key is None else {KEY_COUNT: prepared.index.key}),
            TABLE_VERSION: config.publish.table_version,
            **contact_counts(prepared, buckets),
            **consent_told(config, prepared, buckets),
            "segments": segment_counts(buckets, segment_names, config.currency_digits),
        }
        stats = reduce(add, (bucket.stats for bucket in buckets if bucket.stats is not None))
        told = guarded(stats, plan, config, before, as_of=as_of, attributes=contacts, accept=how.accept)
        drift = compare(fitted.drift, [bucket.drift for bucket in buckets])
        counts["warnings"] = [
            *score_warnings(config, as_of, fitted, counts, prepared, drift),
            *cluster_alarms(fitted, users, sum(bucket.far for bucket in buckets), config),
            *list_notes(plan.definitions, as_of),
            *unknown_in_lists(plan.definitions, lists, buckets, as_of),
            *told,
            *quality.warnings,
            *consent_warnings(prepared),
            *sorted({note for bucket in buckets for note in bucket.notes}),
            *changes,
        ]
        counts |= to_counts(stats)
        staged = {
            name: stage_table(frame, name, as_of, work, mark)
            for name, frame in {
                "quality": quality.table(buckets),
                "drift": drift,
                **segment_tables(stats, plan, applied, config.currency_digits),
                **score_tables(buckets, config.currency_digits),
            }.items()
        }
        with watch.stage("ledger"):
            scored = staged_scored(
                work,
                as_of,
                run_id,
                buckets,
                staged["segment_definitions"],
                user_dtype=fitted.user_dtype,
                rekeyed=rekeyed,
                spec=spec,
            )
            ledger_work = ledger_tasks(scored, before, work)
            records = executor.map(
                ledger_bucket,
                ledger_work,
                on_done=track(progress, "ledger", len(ledger_work), executor.tally),
                sizes=[ledger_size(bucket.users) for bucket in buckets],
            )
        counts["ledger"] = ledger_counts(scored, before, records)
        tables = table_records(
            prepared,
            buckets,
            as_of,
            [
                *staged.values(),
                *ledger_records(ledger_work, records, executor),
                *write_scored(buckets, as_of, staging=work, mark=mark, executor=executor),
            ],
        )
        check_staged(
            config, tables, users, as_of, staging=work, buckets=len(buckets), rekeyed=rekeyed, executor=executor
        )
        check_unchanged(opened)
        with watch.stage("publish"):
            marked = fingerprints | input_marks(config, prepared.index.entries, as_of)
            manifest = Manifest(run_id, as_of, marked["bundle"], marked, counts, tables)
            note_publish(out, as_of)
            publish(work, out, manifest)
            events.published(run_id, as_of, ((table.name, table.rows, table.bytes) for table in tables))
            corrected = correct_later(out, as_of, how.executor, progress, until=how.next_as_of)
        keep_totals(prepared, shelf, [bucket.standing for bucket in buckets], out)
        register_score(opened, prepared, manifest, spec, plan.definitions)
        counts |= commit_run(config, as_of)
    if corrected:
        counts = {**counts, "ledger_corrected": [day.isoformat() for day in corrected]}
    summaries = {table.name: TableSummary.of(table, str(out)) for table in tables}
    return RunRecord(run_id, as_of, counts, watch.timings(), summaries, str(folder))


def run(
    config: Config,
    as_of: date,
    *,
    executor: Executor,
    accept: Collection[str] = (),
    progress: Progress | None = None,
    next_as_of: date | None = None,
) -> RunRecord:
    """Fit when there is no bundle that fits the configuration and the date, then score.

    The latest bundle is used that was fitted on or before `as_of`, less than `refit_after_days` earlier, with the same
    configuration and the same types of user ids and contacts; so a back-fill finds the bundle of its time again.

    Args:
        config: The configuration.
        as_of: First day that is not used.
        executor: Where the tasks run.
        accept: Guards whose findings do not hold the publish back.
        progress: Told how far each stage is.
        next_as_of: A date that the caller runs right after this one: what is published for it and for later ones is
            corrected then, and not here.

    Raises:
        TamisError: As `fit_run` and `score_run`.
    """
    watch = Stopwatch()
    finish_erasures_first(config)
    how = _Session(executor, progress, tuple(accept), next_as_of)
    opened = open_run(config)
    # What would stop the scoring must not cost a fit first.
    check_user_type(Path(config.out), as_of, opened.given.user_dtype, opened.given.ids.pseudonyms_of)
    check_accepted(how.accept, definitions(config))
    conditions = conditions_of(opened)
    folder = find_bundle(Path(config.out), as_of, conditions, config.refit_after_days)
    if folder is not None:
        return _score(opened, as_of, folder, how, watch)
    try:
        fit = fit_opened(opened, as_of, executor, progress)
    except HeldError as held:
        folder = find_bundle(Path(config.out), as_of, conditions)
        if folder is None:
            raise
        scored = _score(opened, as_of, folder, how, watch)
        warnings = [f"{held.message}; the bundle {folder.name} was used again", *scored.counts["warnings"]]
        return replace(scored, counts={**scored.counts, "warnings": warnings})
    scored = _score(opened, as_of, Path(str(fit.bundle)), how, watch)
    timings = {f"fit.{stage}": seconds for stage, seconds in fit.timings.items()}
    of_the_fit = ("clusters", "models", "reduced_models", "kept_models", "kept_value")
    learnt: dict[str, Any] = {name: fit.counts[name] for name in of_the_fit if name in fit.counts}
    warnings = list(dict.fromkeys((*fit.counts["warnings"], *scored.counts["warnings"])))
    counts = {**scored.counts, **learnt, "warnings": warnings}
    return replace(scored, counts=counts, timings={**timings, **scored.timings})
