"""Why users have the scores they have: `explain_run` computes their features again and tells what moved each score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from engine.bundle import Bundle, bundle_id, load_bundle
from engine.bundle_store import Conditions, check_bundle, current_bundle, find_bundle
from engine.config import Config
from engine.consent.told import reasons_withheld
from engine.errors import ConfigError
from engine.execution.protocol import Executor
from engine.identity import learning_hashes, run_identity, run_mark
from engine.privacy.ids import named_ids
from engine.progress import Progress, track
from engine.propensity.explain import reasons_schema
from engine.record import RunRecord, TableSummary
from engine.stages.accounting import Stopwatch
from engine.stages.accounts import account_files
from engine.stages.explaining import ExplainTask, explain_bucket, keys_of, scores_schema
from engine.stages.features import wanted_of
from engine.stages.opening import Opened, check_unchanged, open_run
from engine.stages.preparation import Prepared, prepare
from engine.stages.scoring import check_attributes, check_user_ids
from engine.suggest import did_you_mean, some_of
from engine.tables.durable import durable_parquet, durable_parquet_at
from engine.tables.folder import check_empty, replaced_folder
from engine.tables.layout import bundles_folder, manifest_path
from engine.tables.manifest import Manifest, read_manifest
from engine.tables.workspace import workspace

if TYPE_CHECKING:
    from engine.propensity.wording import Language

_SHOWN = 5


@dataclass(frozen=True)
class Question:
    """What is asked of a date.

    Attributes:
        users: Ids as text, as they are published.
        target: Name of the target; all of the bundle when None.
        top: Reasons per user and target at most.
        language: Of the sentences.
    """

    users: tuple[str, ...]
    target: str | None = None
    top: int = 5
    language: Language = "en"


@dataclass(frozen=True)
class Explanation:
    """The answer.

    Attributes:
        record: Counts, timings, warnings; the table that was written.
        reasons: One row per user, target and rank; see `engine.propensity.explain.reasons`. Users ascend, targets come
            in the order of the bundle.
        scores: `user_id`, `target`, `probability`: one row per user that the log knows and target, in the same order;
            null outside the population.
        unknown: Asked ids without an event before the date, in the order in which they were asked.
    """

    record: RunRecord
    reasons: pl.DataFrame
    scores: pl.DataFrame
    unknown: tuple[str, ...]


def explain_run(
    config: Config,
    as_of: date,
    question: Question,
    *,
    executor: Executor,
    bundle: Path | None = None,
    to: Path | None = None,
    progress: Progress | None = None,
) -> Explanation:
    """Tell what moved the scores of some users as of a day, with the bundle that scored it.

    Only the buckets that hold an asked user are computed. Nothing is published.

    Args:
        config: The configuration.
        as_of: First day that is not used.
        question: Who and what is asked about.
        executor: Where the tasks run.
        bundle: Folder of a bundle; when None, the one that scored what is published for the day, else the one that
            `score` would take.
        to: Folder for the table `reasons`, empty or not there; not written when None.
        progress: Told how far each stage is.

    Raises:
        ConfigError: No bundle, one fitted with another configuration or later, or a target it does not have.
        DataError: The log cannot be used.
        IntegrityError: The bundle is damaged, the input was changed during the run, or reasons do not add up.
        ConflictError: Another run is writing to the same output.
    """
    watch = Stopwatch()
    if to is not None:
        to = to.absolute()
        check_empty(to)
    opened = open_run(config)
    config, out = opened.config, Path(opened.config.out)
    published = _published(out, as_of)
    folder = bundle or _bundle_of(opened, published, as_of)
    fitted = load_bundle(folder)
    check_bundle(fitted, folder, as_of, learning_hashes(config))
    check_attributes(fitted, opened.contacts)
    check_user_ids(fitted, opened.given.user_dtype)
    targets = _targets(fitted, question.target, folder)
    ids = named_ids(config, question.users, fitted.user_dtype)
    run_id = run_identity("explain", as_of, {**opened.fingerprints, "bundle": bundle_id(folder)})
    with workspace(out, run_id) as work:
        with watch.stage("read"):
            prepared = prepare(
                config,
                opened.given,
                as_of,
                work=work,
                executor=executor,
                progress=progress,
                types=tuple(kind.name for kind in fitted.spec.types if kind.of is None),
                wanted=wanted_of(fitted.spec, config.targets),
            )
        with watch.stage("explain"):
            dtype = pl.String() if fitted.user_dtype == "String" else pl.Int64()
            users = pl.Series("user_id", list(ids.values()), dtype).unique().sort()
            asked = work / "asked.parquet"
            durable_parquet_at(users.to_frame(), asked)
            buckets = _buckets_of(users, prepared)
            accounts = account_files(
                prepared,
                prepared.shelf,
                fitted.spec,
                (prepared.shelf.end_day,) if buckets else (),
                work=work,
                executor=executor,
                progress=progress,
            )
            tasks = [
                ExplainTask(
                    bucket=index,
                    keys=prepared.buckets[index],
                    shelf=prepared.shelf,
                    contacts=None if prepared.contacts is None else prepared.contacts.part,
                    bundle=str(folder.absolute()),
                    users=str(asked),
                    targets=targets,
                    top=question.top,
                    language=question.language,
                    folder=str(work),
                    threads=executor.threads,
                    accounts=accounts,
                    permits=prepared.asked.permits,
                )
                for index in buckets
            ]
            records = executor.map(explain_bucket, tasks, on_done=track(progress, "explain", len(tasks)))
            scores = _gather([record.scores for record in records], scores_schema(dtype), targets)
            found = _gather([record.reasons for record in records], reasons_schema(dtype), targets)
        check_unchanged(opened)
        known = set(scores["user_id"])
        unknown = tuple(text for text in question.users if ids.get(text) not in known)
        withheld = reasons_withheld(users, prepared.shelf.users, prepared.asked.permits)
        tables = {} if to is None else {"reasons": _write(found, to, run_mark(run_id))}
        # Read again: another run may have replaced the day before this one had the lock.
        other = _warn_other(_published(out, as_of), scores, out, folder)
    counts = {
        "asked": len(question.users),
        "users": len(known),
        "reasons": found.height,
        "unknown": list(unknown),
        "outside_population": {
            name: scores.filter((pl.col("target") == name) & pl.col("probability").is_null()).height for name in targets
        },
        "warnings": [*_warn_unknown(unknown, as_of, {text: withheld.get(ids[text]) for text in ids}), *other],
    }
    record = RunRecord(run_id, as_of, counts, watch.timings(), tables, str(folder))
    return Explanation(record, found, scores, unknown)


def _published(out: Path, as_of: date) -> Manifest | None:
    path = manifest_path(out, as_of)
    return read_manifest(path) if path.exists() else None


def _bundle_of(opened: Opened, published: Manifest | None, as_of: date) -> Path:
    out = Path(opened.config.out)
    if published is not None and published.bundle is not None:
        return bundles_folder(out) / published.bundle
    contacts = {name: str(dtype) for name, dtype in opened.contacts.items()}
    conditions = Conditions(learning_hashes(opened.config), opened.given.user_dtype, contacts)
    folder = find_bundle(out, as_of, conditions) or current_bundle(out)
    if folder is None:
        raise ConfigError(f"nothing was fitted yet under {out}", code="bundle-missing", hint="Run `tamis fit` first.")
    return folder


def _targets(bundle: Bundle, asked: str | None, folder: Path) -> tuple[str, ...]:
    names = tuple(model.spec.target.name for model in bundle.models)
    if not names or asked not in {None, *names}:
        raise ConfigError(
            f"the bundle {folder} has no model of a target"
            + ("" if asked is None else f" {asked!r}{did_you_mean(asked, names)}"),
            code="target-unknown",
            hint=f"Targets: {some_of(names)}." if names else "Add [[targets]] to the configuration, then `tamis fit`.",
        )
    return names if asked is None else (asked,)


def _buckets_of(users: pl.Series, prepared: Prepared) -> list[int]:
    """The buckets that hold one of the users."""
    keys = keys_of(users, prepared.shelf.users).to_frame()
    return [
        index for index, of_bucket in enumerate(prepared.buckets) if not keys.filter(of_bucket.contains()).is_empty()
    ]


def _gather(files: Sequence[str], schema: Mapping[str, pl.DataType], targets: Sequence[str]) -> pl.DataFrame:
    parts = [pl.read_parquet(file, glob=False, hive_partitioning=False) for file in files]
    order = {name: place for place, name in enumerate(targets)}
    by_target = pl.col("target").replace_strict(order, return_dtype=pl.Int32)
    rank = ["rank"] if "rank" in schema else []
    return pl.concat([pl.DataFrame(schema=schema), *parts]).sort("user_id", by_target, *rank)


def _write(found: pl.DataFrame, to: Path, mark: str) -> TableSummary:
    with replaced_folder(to) as folder:
        file = durable_parquet(found, folder, f"part-00000-{mark}", root=folder)
    return TableSummary(str(to), file.rows, 1, file.bytes)


def _warn_unknown(asked: Sequence[str], as_of: date, withheld: Mapping[str, str | None]) -> list[str]:
    unknown = [text for text in asked if withheld.get(text) is None]
    told = [(text, why) for text in asked if (why := withheld.get(text)) is not None]
    lines = [f"nothing is computed of {text!r}: {why}" for text, why in told[:_SHOWN]]
    if len(told) > _SHOWN:
        lines.append(f"nor of {len(told) - _SHOWN} more of the asked users")
    if not unknown:
        return lines
    more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
    listed = ", ".join(map(repr, unknown[:_SHOWN]))
    return [*lines, f"{len(unknown)} of the asked users have no event before {as_of}: {listed}{more}"]


def _warn_other(published: Manifest | None, scores: pl.DataFrame, out: Path, folder: Path) -> list[str]:
    """Whether the reasons are of other scores than the published ones."""
    if published is None:
        return [f"nothing is published for the day; these are scores of the bundle {folder.name}"]
    table = next((table for table in published.tables if table.name == "scores"), None)
    columns = {f"propensity_{name}": name for name in scores["target"].unique().sort()}
    there = dict(() if table is None else table.schema)
    if table is None or not columns.keys() <= there.keys() or there["user_id"] != str(scores.schema["user_id"]):
        return [f"the scores published for the day are not those of the bundle {folder.name}"]
    users = scores["user_id"].unique()
    found = (
        pl.scan_parquet([out / file.path for file in table.records], glob=False, hive_partitioning=False)
        .filter(pl.col("user_id").is_in(users.implode()))
        .select("user_id", *(pl.col(column).alias(name) for column, name in columns.items()))
        .collect()
        .unpivot(index="user_id", variable_name="target", value_name="published")
    )
    both = scores.join(found, on=["user_id", "target"], how="left")
    changed = both.filter(pl.col("published").ne_missing(pl.col("probability")))["user_id"].n_unique()
    if not changed:
        return []
    why = f"the log has changed since, or the day was scored with another bundle than {folder.name}"
    return [f"{changed} of the users have another published score than these reasons are for: {why}"]
