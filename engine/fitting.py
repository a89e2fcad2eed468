"""The job that learns: RFM edges, the engagement scale, clusters, customer value, and one model per target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.bundle import Bundle, bundle_id
from engine.bundle_pointer import read_acts, state_of
from engine.bundle_store import Conditions, bundle_before, write_bundle
from engine.cluster_history import first_free_id
from engine.config import Config
from engine.consent.inputs import inputs_of
from engine.erasure.first import finish_erasures_first
from engine.errors import HeldError
from engine.execution.journal import journalled
from engine.execution.protocol import Executor
from engine.features.catalogue import catalogue
from engine.features.choice import feature_spec
from engine.features.spec import FeatureSpec
from engine.features.windows import day_number
from engine.identity import learning_hashes, run_identity
from engine.incumbent import incumbent_value
from engine.progress import Progress, track
from engine.propensity.drift import Reference
from engine.propensity.train import TrainedModel
from engine.propensity.tune import check_installed
from engine.record import RunRecord
from engine.refit import by_schedule, by_users
from engine.segments.rfm_maps import segment_table
from engine.stages.accounting import Stopwatch, contact_counts, ingest_counts, reconcile, row_counts
from engine.stages.accounts import account_files
from engine.stages.cluster_notices import cluster_counts, cluster_warnings
from engine.stages.clustering import learn_clusters
from engine.stages.features import provisional_wants
from engine.stages.gating import taken
from engine.stages.input import sample_files
from engine.stages.learning import (
    Learnt,
    MatrixRecord,
    NoValue,
    Scales,
    build_matrices,
    check_history,
    learn,
)
from engine.stages.learning_plan import (
    anchor_days,
    attribute_warnings,
    check_columns,
    cluster_input,
    drift_task,
    learn_tasks,
    learning_sizes,
    matrix_tasks,
)
from engine.stages.notices import alarms, fit_warnings, quarantined_files, reduced_warnings, stale_log
from engine.stages.opening import Opened, check_unchanged, open_run
from engine.stages.permitting import consent_told, consent_warnings
from engine.stages.preparation import prepare, types_in_use
from engine.stages.registering import register_fit
from engine.stages.schemas import configured_schema
from engine.stages.segmenting import applied_of, compile_applied
from engine.stages.sizing import bucket_sizes
from engine.stages.target_learning import NoReduced, ReducedModel, TargetTask
from engine.stages.tuning import tuned_tasks
from engine.tables.workspace import workspace
from engine.value.model import ValueModel

if TYPE_CHECKING:
    import polars as pl


def fit_run(
    config: Config, as_of: date, *, executor: Executor, progress: Progress | None = None, if_drifted: bool = False
) -> RunRecord:
    """Learn everything that stays still between runs, and write it as one bundle.

    The same log, configuration, date and earlier bundles give the same bundle, byte for byte, on any executor. A model
    that does not pass its gate gives way to the one of the bundle before, and so do clusters that move too many users;
    without one, the new bundle is held back. Customer value that has no best parameters gives way in the same manner;
    without one before, the fit stops.

    Args:
        config: The configuration.
        as_of: First day that is not used; labels of the test rows end there.
        executor: Where the tasks run.
        progress: Told how far each stage is.
        if_drifted: Learn nothing unless a fit is due: the last one is old, or the users have become others. The
            record's `counts["refit"]` says why, or why not; its `bundle` is then the one in use.

    Raises:
        ConfigError: The configuration names what does not exist.
        DataError: The log cannot be used, or has too little to learn from.
        HeldError: A model or the clusters did not pass their gate, and there is nothing that could stay in their place.
        IntegrityError: The input was changed during the run, or rows do not add up.
        ConflictError: Another run is writing to the same output.
    """
    finish_erasures_first(config)
    return fit_opened(open_run(config), as_of, executor, progress, if_drifted=if_drifted)


def fit_opened(
    opened: Opened, as_of: date, executor: Executor, progress: Progress | None, *, if_drifted: bool = False
) -> RunRecord:
    """See `fit_run`."""
    watch = Stopwatch()
    counts: dict[str, Any]
    config, contacts, out = opened.config, opened.contacts, Path(opened.config.out)
    if config.model.tune and config.targets:
        check_installed()
    before = bundle_before(out, as_of)
    first_id = first_free_id(out, as_of) if config.clusters.enabled else 0
    compared = {} if before is None else {"before": before.name, "first_cluster": str(first_id)}
    run_id = run_identity("fit", as_of, {**opened.fingerprints, **compared})
    refit, in_use = by_schedule(config, as_of, conditions_of(opened)) if if_drifted else (None, None)
    with workspace(out, run_id) as work, journalled(executor, work) as journal:
        with watch.stage("read"):
            journal.check_paths(work, sample_files(opened.given))
            types = types_in_use(config, opened.given, as_of, journal, progress)
            prepared = prepare(
                config,
                opened.given,
                as_of,
                work=work,
                executor=journal,
                progress=progress,
                types=types,
                wanted=provisional_wants(config, types, contacts),
            )
        priced = frozenset(count.event_type for count in prepared.ingested.types if count.priced)
        spec = feature_spec(config, prepared.types, priced, contacts)
        check_rules(config, spec, contacts)
        if refit is not None and in_use is not None and not refit.due:
            with watch.stage("compare"):
                refit, watched = by_users(
                    config, refit, in_use, spec, prepared, work=work, executor=journal, progress=progress
                )
            if not refit.due:
                check_unchanged(opened)
                counts = {
                    "rows": row_counts(prepared.ingested),
                    **ingest_counts(prepared.ingested),
                    **({"users": sum(bucket.users for bucket in watched)} if watched else {}),
                    "refit": refit.to_dict(),
                    "warnings": [
                        *stale_log(config, prepared.ingested.last_day, as_of),
                        *quarantined_files(prepared.ingested.quarantined),
                    ],
                }
                return RunRecord(run_id, as_of, counts, watch.timings(), {}, str(in_use))
        first, last = prepared.ingested.first_day or 0, prepared.ingested.last_day or 0
        check_history(config.targets, first, last, day_number(as_of))
        with watch.stage("features"):
            days = (day_number(as_of), *anchor_days(config, prepared, as_of))
            accounts = account_files(
                prepared, prepared.shelf, spec, days, work=work, executor=journal, progress=progress
            )
            tasks = matrix_tasks(config, spec, prepared, as_of, contacts, work, accounts)
            on_done = track(progress, "features", len(tasks), journal.tally)
            sizes = bucket_sizes(prepared, len(catalogue(spec)))
            matrices = journal.map(build_matrices, tasks, on_done=on_done, sizes=sizes)
        reconcile(prepared, matrices)
        known, asked = contact_counts(prepared, matrices), consent_told(config, prepared, matrices)
        clusters = None
        if config.clusters.enabled:
            with watch.stage("cluster"):
                given = cluster_input(config, spec, matrices, contacts, first_id)
                clusters = learn_clusters(given, config, spec, before, work=work, executor=journal, progress=progress)
        with watch.stage("learn"):
            learnt = _learn(config, spec, matrices, as_of, contacts, before, journal, progress)
        check_unchanged(opened)
        bundle = Bundle(
            as_of=as_of,
            learnt_from=tuple(sorted(learning_hashes(config).items())),
            spec=spec,
            user_dtype=opened.given.user_dtype,
            rfm_edges=learnt.scales.rfm_edges,
            segment_map=config.rfm.segment_map,
            own_map=tuple(segment_table(config.rfm).items()) if config.rfm.segment_map == "own" else (),
            engagement_full_at=learnt.scales.engagement_full_at,
            contacts=tuple((name, str(dtype)) for name, dtype in contacts.items()),
            clusters=None if clusters is None else clusters.clustered,
            models=learnt.models,
            drift=learnt.drift,
            value=learnt.value,
            inputs=inputs_of(config.consent),
            reduced=learnt.reduced,
        )
        moved = clusters.failed if clusters is not None and clusters.held else ()
        folder = write_bundle(bundle, work / "bundle", out, promote=not learnt.held and not moved)
        register_fit(opened, prepared, bundle, run_id, folder, sum(matrix.users for matrix in matrices))
    if learnt.held or moved:
        raise _held(learnt, moved, folder)
    counts = {
        "rows": row_counts(prepared.ingested),
        **ingest_counts(prepared.ingested),
        "users": sum(matrix.users for matrix in matrices),
        **known,
        **asked,
        **({} if refit is None else {"refit": refit.to_dict()}),
        **({} if bundle.clusters is None else {"clusters": cluster_counts(bundle.clusters)}),
        "models": _metrics(bundle.models),
        **({"reduced_models": _metrics(bundle.reduced)} if bundle.reduced else {}),
        **({"kept_models": {name: list(reasons) for name, reasons in learnt.kept.items()}} if learnt.kept else {}),
        **({"kept_value": list(learnt.kept_value)} if learnt.kept_value else {}),
        "warnings": [
            *_not_taken(out, folder),
            *quarantined_files(prepared.ingested.quarantined),
            *(f"target {name!r}: {_kept_line(reasons, before)}" for name, reasons in learnt.kept.items()),
            *_kept_value_line(learnt.kept_value, before),
            *fit_warnings(model.spec for model in bundle.models),
            *reduced_warnings([model.spec for model in bundle.reduced], learnt.unscored),
            *(() if clusters is None else cluster_warnings(clusters)),
            *(() if bundle.value is None else bundle.value.fit.warnings),
            *attribute_warnings(config, contacts),
            *consent_warnings(prepared),
        ],
    }
    return RunRecord(run_id, as_of, counts, watch.timings(), {}, str(folder))


@dataclass(frozen=True)
class _Learnt:
    """What the tasks of a fit gave.

    Attributes:
        kept: Why the model of the bundle before stays, by target: what the gate said, and the alarms of the new one.
        held: Why a model must not be promoted and has none to stay in its place, by target.
        kept_value: Why customer value of the bundle before stays: what kept the new one from being fitted.
        reduced: The models of the users who lack a purpose of an input.
        unscored: Why there is no such model, by target.
    """

    scales: Scales
    value: ValueModel | None
    models: tuple[TrainedModel, ...]
    drift: Reference | None
    kept: Mapping[str, Sequence[str]]
    held: Mapping[str, Sequence[str]]
    kept_value: Sequence[str]
    reduced: tuple[TrainedModel, ...] = ()
    unscored: Mapping[str, str] = field(default_factory=dict)


def _learn(
    config: Config,
    spec: FeatureSpec,
    matrices: Sequence[MatrixRecord],
    as_of: date,
    contacts: Mapping[str, pl.DataType],
    before: Path | None,
    executor: Executor,
    progress: Progress | None,
) -> _Learnt:
    planned = learn_tasks(config, spec, matrices, as_of, contacts, executor.threads, before)
    targets = [task for task in planned if isinstance(task, TargetTask)]
    others = [task for task in planned if not isinstance(task, TargetTask)]
    targets = tuned_tasks(targets, config.model.tune, executor=executor, progress=progress)
    to_learn = [*others, *targets]
    sizes = learning_sizes(to_learn, matrices)
    on_done = track(progress, "learn", len(to_learn), executor.tally)
    learnt = executor.map(learn, to_learn, on_done=on_done, sizes=sizes)
    value, kept_value = _value(learnt, config, spec, before)
    full = taken([one for one in learnt if isinstance(one, TrainedModel)], config, spec, contacts, before)
    inputs = inputs_of(config.consent)
    lean = taken([one.model for one in learnt if isinstance(one, ReducedModel)], config, spec, contacts, before, inputs)
    drift = None
    if full.models or config.clusters.enabled:
        task = drift_task(config, spec, matrices, contacts, full.models, executor.threads, lean.models)
        [drift] = [result for result in executor.map(learn, [task]) if isinstance(result, Reference)]
    [scales] = [result for result in learnt if isinstance(result, Scales)]
    return _Learnt(
        scales=scales,
        value=value,
        models=full.models,
        drift=drift,
        kept={**full.kept, **lean.kept},
        held={**full.held, **lean.held},
        kept_value=kept_value,
        reduced=lean.models,
        unscored={one.target: one.reason for one in learnt if isinstance(one, NoReduced)},
    )


def _metrics(models: Sequence[TrainedModel]) -> dict[str, Any]:
    return {model.spec.target.name: model.spec.metrics.to_dict() for model in models}


def _value(
    learnt: Sequence[Learnt], config: Config, spec: FeatureSpec, before: Path | None
) -> tuple[ValueModel | None, Sequence[str]]:
    """Customer value, and why it is that of the bundle before if it is.

    Raises:
        DataError: It could not be fitted, and there is none that could stay in its place.
    """
    failed = next((result.error for result in learnt if isinstance(result, NoValue)), None)
    if failed is None:
        return next((result for result in learnt if isinstance(result, ValueModel)), None), ()
    old = None if before is None else incumbent_value(before, learning_hashes(config)["value"], spec)
    if old is None:
        raise failed
    return old, [line.strip() for line in failed.message.splitlines()[1:]]


def _not_taken(out: Path, folder: Path) -> list[str]:
    state = state_of(read_acts(out), folder.name)
    if state in {"current", "promoted"}:
        return []
    return [f"the bundle {folder.name} is {state}: it was fitted and put aside before; `tamis bundle promote` takes it"]


def _kept_line(reasons: Sequence[str], before: Path | None) -> str:
    failed = "; ".join(reason.removeprefix("no: ") for reason in reasons)
    return f"the model of bundle {before.name if before else ''} stays, the new one did not pass its gate: {failed}"


def _kept_value_line(problems: Sequence[str], before: Path | None) -> list[str]:
    if not problems:
        return []
    stays = f"that of bundle {before.name if before else ''} stays"
    return [f"customer value: {stays}, the new one could not be fitted: {'; '.join(problems)}"]


def _held(learnt: _Learnt, moved: Sequence[str], folder: Path) -> HeldError:
    """Why a bundle is not promoted: because of its models, of its clusters, which move too many users, or of both."""
    identity = bundle_id(folder)
    ways = (
        f"`tamis bundle show {identity}` has the figures, `tamis bundle promote {identity}` takes it anyway. ",
        'with gate = "warn" in [model] a fit only warns.',
    )
    lines = [f"  clusters: {reason}" for reason in moved]
    if not learnt.held:
        return HeldError(
            f"the bundle {identity} is held back: its clusters did not pass their gate\n" + "\n".join(lines),
            code="clusters-held",
            hint=f"{ways[0]}The clusters in use cannot stay: they are made of other features or by another algorithm; "
            f"{ways[1]}",
        )
    failed = [f"  {name}: {reason.removeprefix('no: ')}" for name, reasons in learnt.held.items() for reason in reasons]
    failed += [f"  {alarm}" for alarm in alarms(model.spec for model in learnt.models)]
    return HeldError(
        f"the bundle {identity} is held back: models did not pass their gate\n" + "\n".join([*failed, *lines]),
        code="model-held",
        hint=f"{ways[0]}More history, other features or another target may help; {ways[1]}",
    )


def check_rules(config: Config, spec: FeatureSpec, contacts: Mapping[str, pl.DataType]) -> None:
    """Stop when the configuration names columns that there will not be, before anything is computed.

    Raises:
        ConfigError: Every such name.
    """
    check_columns(config, spec, contacts)
    compile_applied(applied_of(config, spec, contacts), configured_schema(config, spec))


def conditions_of(opened: Opened) -> Conditions:
    """What a bundle must have been fitted with to score the input of a run."""
    contacts = {name: str(dtype) for name, dtype in opened.contacts.items()}
    return Conditions(learning_hashes(opened.config), opened.given.user_dtype, contacts)
