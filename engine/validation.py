"""Whether published scores came true: `validate_run` measures those of a past date once their horizon has passed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import reduce
from operator import add
from pathlib import Path

from engine.bundle import Bundle, load_bundle
from engine.config import Config, Target
from engine.errors import ConfigError, IntegrityError
from engine.execution.protocol import Executor
from engine.features.choice import feature_spec
from engine.features.spec import FeatureSpec
from engine.features.windows import day_number
from engine.identity import run_identity
from engine.progress import Progress, track
from engine.propensity.spec import ModelSpec
from engine.record import RunRecord
from engine.rollups.update import Wanted
from engine.stages.accounting import Stopwatch
from engine.stages.features import provisional_wants, wanted_of
from engine.stages.group_columns import SEGMENT, Value, check_group_columns
from engine.stages.maturing import (
    MatureTask,
    MeasureGroupsTask,
    MeasureTask,
    Realised,
    TargetCounts,
    group_column,
    key_span,
    mature_bucket,
    measure_groups,
    measure_target,
    score_column,
)
from engine.stages.maturity import check_id_types, check_ids, due_targets, lagging, last_day, matured_warnings
from engine.stages.opening import Opened, check_unchanged, open_run
from engine.stages.preparation import Prepared, prepare, types_in_use
from engine.suggest import did_you_mean, some_of
from engine.tables.layout import bundles_folder, manifest_path
from engine.tables.manifest import Manifest, TableRecord, read_manifest
from engine.tables.verify import verify_table
from engine.tables.workspace import workspace
from engine.validation_groups import groups_of
from engine.validation_table import Matured, plain_target, write_rows


@dataclass(frozen=True)
class Validation:
    """What a validation found: its record, and one entry per target whose horizon has passed."""

    record: RunRecord
    matured: tuple[Matured, ...]


def validate_run(
    config: Config, as_of: date, *, executor: Executor, progress: Progress | None = None, by: Sequence[str] = ()
) -> Validation:
    """Compare the scores that are published for a date with what happened in the horizon after it.

    Labels come from the log as it is now, by the function that training has its labels from. The configuration may have
    changed since: what the targets meant is taken from the bundle that scored them, and from the configuration only
    when that bundle is gone.

    Args:
        config: The configuration.
        as_of: The date of a published run.
        executor: Where the tasks run.
        progress: Told how far each stage is.
        by: Published columns whose values make groups that are measured one by one: `segment`, or columns of the table
            `scores` that hold text or whole numbers.

    Raises:
        ConfigError: Nothing is published for the date, none of its scores is of a target that is known, or a column of
            `by` cannot tell groups apart.
        DataError: No horizon has passed by the end of the log, published ids are not those of the log, or the log
            cannot be used.
        IntegrityError: Published files are not those of their manifest, or the input was changed during the run.
        ConflictError: Another run is writing to the same output.
    """
    watch = Stopwatch()
    opened = open_run(config.model_copy(update={"targets": ()}))
    out = Path(opened.config.out)
    by = tuple(dict.fromkeys(by))
    grouped = {"by": json.dumps(by)} if by else {}
    run_id = run_identity("validate", as_of, {**opened.fingerprints, **grouped})
    with workspace(out, run_id) as work:
        manifest, table = _published(out, as_of)
        scored = _scored(manifest, table, config, out)
        check_id_types(table, opened.given.user_dtype, out)
        segments = check_group_columns(by, manifest, out, executor)
        with watch.stage("read"):
            end = as_of + timedelta(days=max(target.horizon_days for target in scored.targets))
            spec, prepared = prepare_labels(
                opened, scored.targets, scored.bundle, end, work=work, executor=executor, progress=progress
            )
        due, later = due_targets(scored.targets, as_of, last_day(prepared))
        with watch.stage("validate"):
            files = [str(out / record.path) for record in table.records]
            of_segments = [] if segments is None else [str(out / record.path) for record in segments.records]
            to_read = [*files, *of_segments]
            spans = executor.map(key_span, to_read, on_done=track(progress, "read scores", len(to_read)), small=True)
            tasks = [
                MatureTask(
                    bucket=index,
                    keys=keys,
                    shelf=portion,
                    spec=spec,
                    targets=due,
                    day=day_number(as_of),
                    files=tuple(span.file for span in spans[: len(files)] if span.overlaps(keys)),
                    rows=table.rows,
                    limit=config.model.max_rows,
                    folder=str(work),
                    by=by,
                    segment_files=tuple(span.file for span in spans[len(files) :] if span.overlaps(keys)),
                    permits=prepared.asked.permits,
                )
                for index, (keys, portion) in enumerate(prepared.portions(prepared.shelf))
            ]
            records = executor.map(mature_bucket, tasks, on_done=track(progress, "validate", len(tasks)))
            check_ids(records, table, prepared, out)
            parts = [tuple(record.files[place] for record in records) for place in range(len(due))]
            to_measure = [MeasureTask(files_of, config.seed) for files_of in parts]
            realised = executor.map(measure_target, to_measure, on_done=track(progress, "measure", len(to_measure)))
            measured = _measured_groups(parts, by, config.seed, executor, progress)
        check_unchanged(opened)
        dtypes = {**dict(table.schema), SEGMENT: "String"}
        matured = tuple(
            Matured(
                as_of=as_of,
                bundle=manifest.bundle,
                target=target,
                published=table.rows,
                counts=reduce(add, (record.targets[place] for record in records), TargetCounts()),
                realised=figures,
                trained=scored.specs.get(target.name),
                groups=tuple(
                    (name, groups_of([record.groups[place][column] for record in records], figures_of, dtypes[name]))
                    for column, (name, figures_of) in enumerate(zip(by, measured[place], strict=True))
                ),
            )
            for place, (target, figures) in enumerate(zip(due, realised, strict=True))
        )
        tables = write_rows(matured, out)
    warnings = [*scored.warnings, *later, *lagging(due, spec, as_of, prepared)]
    warnings += [line for entry in matured for line in matured_warnings(entry)]
    counts = {
        "published": table.rows,
        "unknown": table.rows - sum(record.matched + record.withheld for record in records),
        **({} if prepared.asked.permits is None else {"withheld": sum(record.withheld for record in records)}),
        "targets": {entry.target.name: plain_target(entry) for entry in matured},
        "warnings": warnings,
    }
    folder = None if scored.bundle is None else str(bundles_folder(out) / str(manifest.bundle))
    return Validation(RunRecord(run_id, as_of, counts, watch.timings(), tables, folder), matured)


def _measured_groups(
    parts: Sequence[tuple[str, ...]], by: Sequence[str], seed: int, executor: Executor, progress: Progress | None
) -> list[list[dict[Value, Realised]]]:
    """The figures of the groups of each target, column by column."""
    if not by:
        return [[] for _ in parts]
    columns = [group_column(place) for place in range(len(by))]
    tasks = [MeasureGroupsTask(files, column, seed) for files in parts for column in columns]
    found = executor.map(measure_groups, tasks, on_done=track(progress, "measure groups", len(tasks)))
    return [found[start : start + len(by)] for start in range(0, len(found), len(by))]


@dataclass(frozen=True)
class _Scored:
    """The targets of a published table, and what is left of the bundle that scored it."""

    targets: tuple[Target, ...]
    bundle: Bundle | None
    specs: Mapping[str, ModelSpec]
    warnings: tuple[str, ...]


def _published(out: Path, as_of: date) -> tuple[Manifest, TableRecord]:
    """The manifest of a date, and its table of scores after its files were looked at."""
    path = manifest_path(out, as_of)
    manifest = read_manifest(path) if path.exists() else None
    table = next((table for table in manifest.tables if table.name == "scores"), None) if manifest else None
    if manifest is None or table is None:
        dates = sorted(file.stem.removeprefix("as_of=") for file in path.parent.glob("as_of=*.json"))
        raise ConfigError(
            f"no scores are published for {as_of} under {out}",
            code="not-published",
            hint=f"Published dates: {', '.join(dates[-10:])}." if dates else "Run `tamis score` first.",
        )
    verify_table(out, table)
    return manifest, table


def _scored(manifest: Manifest, table: TableRecord, config: Config, out: Path) -> _Scored:
    columns = {name for name, dtype in table.schema if dtype == "Float64"}
    bundle, warnings = bundle_of(manifest, out)
    specs = {} if bundle is None else {model.spec.target.name: model.spec for model in bundle.models}
    known = {target.name: target for target in config.targets} if bundle is None else {}
    known |= {name: spec.target for name, spec in specs.items()}
    targets = tuple(target for target in known.values() if score_column(target.name) in columns)
    if not targets:
        raise ConfigError(
            f"the scores published for {manifest.as_of} have no column of a target that is known",
            code="target-unknown",
            hint="Validate with the configuration that scored the date, or score the date again.",
        )
    return _Scored(targets, bundle, specs, warnings)


def bundle_of(manifest: Manifest, out: Path) -> tuple[Bundle | None, tuple[str, ...]]:
    """The bundle that a date was scored with, or None and why it is not there."""
    if manifest.bundle is None:
        return None, ("the published tables name no bundle: targets are those of the configuration",)
    try:
        return load_bundle(bundles_folder(out) / manifest.bundle), ()
    except (ConfigError, IntegrityError) as error:
        what = "is gone" if isinstance(error, ConfigError) else "cannot be used"
        compared = "targets are those of the configuration, and nothing is compared with the training"
        return None, (f"the bundle {manifest.bundle} {what}: {compared}",)


def prepare_labels(
    opened: Opened,
    targets: tuple[Target, ...],
    bundle: Bundle | None,
    end: date,
    *,
    work: Path,
    executor: Executor,
    progress: Progress | None,
) -> tuple[FeatureSpec, Prepared]:
    """The event types, and the rollups up to the end of the horizon; features play no part.

    Args:
        opened: The configuration and its input.
        targets: Whose labels are wanted.
        bundle: What scored the date, whose event types count; those of the log when it is gone.
        end: First day that is not read.
        work: Work folder of the run.
        executor: Where the tasks run.
        progress: Told how far it is.

    Raises:
        ConfigError: The event of a target is none of the event types.
        DataError: The log cannot be used.
    """
    config = opened.config.model_copy(update={"targets": targets})

    def prepared(types: tuple[str, ...], wanted: Wanted) -> Prepared:
        return prepare(
            config, opened.given, end, work=work, executor=executor, progress=progress, types=types, wanted=wanted
        )

    if bundle is not None:
        spec = replace(bundle.spec, families=(), account=None)
        _check_events(targets, spec)
        names = tuple(kind.name for kind in spec.types if kind.of is None)
        return spec, prepared(names, wanted_of(spec, targets))
    types = types_in_use(config, opened.given, end, executor, progress)
    wanted = provisional_wants(config, types, opened.contacts)
    found = prepared(types, replace(wanted, event_types=(), event_columns=()))
    priced = frozenset(count.event_type for count in found.ingested.types if count.priced)
    spec = replace(feature_spec(config, found.types, priced, opened.contacts), families=(), account=None)
    _check_events(targets, spec)
    return spec, found


def _check_events(targets: Sequence[Target], spec: FeatureSpec) -> None:
    missing = [
        f"  {target.event!r} of target {target.name!r}{did_you_mean(target.event, spec.type_names)}"
        for target in targets
        if target.event not in spec.type_names
    ]
    if missing:
        raise ConfigError(
            "event types that are not in use\n" + "\n".join(missing),
            code="event-type-unknown",
            hint=f"Use the configuration that scored the date. There are {some_of(map(repr, spec.type_names))}.",
        )
