"""Whether the rules of score cards tell anything: published points beside what their users did in the days after.

For every rule the outcome's rate among the users it gave points to is compared with that among all others (the rate,
the difference, the lift), its points are judged as a ranking (AUC), and so is what it adds to the other rules of its
card. A rule whose lift could as well be 1 predicts nothing that the log can show; one that gives points to the users
for whom the outcome comes less often, or takes some from those for whom it comes more often, points the wrong way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from engine.config import Config, Target
from engine.errors import ConfigError, TamisError
from engine.execution.protocol import Executor
from engine.features.windows import day_number
from engine.identity import run_identity
from engine.points.cards import Card, resolved_cards
from engine.points.findings import CardAudit, card_audit
from engine.points.ledger import CAP_RULE
from engine.points.outcomes import OutcomeTask, PublishedCard, outcome_bucket
from engine.points.ranking import RankTask, rank_card
from engine.progress import Progress, track
from engine.stages.maturing import MatureRecord, key_span
from engine.stages.maturity import check_id_types, check_ids, due_targets, lagging, last_day
from engine.stages.opening import check_unchanged, open_run
from engine.suggest import did_you_mean
from engine.tables.layout import manifests_folder
from engine.tables.manifest import Manifest, TableRecord, read_manifest
from engine.tables.verify import verify_table
from engine.tables.workspace import workspace
from engine.validation import bundle_of, prepare_labels

OUTCOME: Final = "outcome"
"""Name of the target that an outcome of the command line is."""

_WRITTEN: Final = (
    (f"targets.{OUTCOME}.event", "--outcome"),
    (f"targets.{OUTCOME}.where", "--where"),
    (f"target {OUTCOME!r}", "--outcome"),
    ("event types of the configuration that the data does not have", "an event type that the data does not have"),
)
"""How problems of a target are told, and what the person wrote."""


@dataclass(frozen=True)
class PointsAudit:
    """An audit.

    Attributes:
        published: The date whose points were looked at.
        outcome: What was looked for in the `horizon_days` from that date on.
        cards: The cards.
        warnings: What a person should know.
    """

    published: date
    outcome: Target
    cards: tuple[CardAudit, ...]
    warnings: tuple[str, ...]


def audit_points(
    config: Config,
    as_of: date,
    outcome: Target,
    *,
    executor: Executor,
    card: str | None = None,
    progress: Progress | None = None,
) -> PointsAudit:
    """Compare the points that were published a horizon before a date with what happened since.

    Args:
        config: The configuration.
        as_of: The day of the audit; the points are those of the latest date that is published a horizon before it, or
            earlier.
        outcome: Event, condition and horizon.
        executor: Where the tasks run.
        card: One card; all of them when not given.
        progress: Told how far each stage is.

    Raises:
        ConfigError: No points are published early enough, the card is none of them, or the event is none of the log.
        DataError: The log does not reach the end of the horizon, or published ids are not those of the log.
        IntegrityError: Published files are not those of their manifest, or the input was changed during the run.
        ConflictError: Another run is writing to the same output.
    """
    with _as_written():
        return _audited(config, as_of, outcome, executor, card, progress)


@contextmanager
def _as_written() -> Iterator[None]:
    """Problems of the target named by the options of the command that it is made of."""
    try:
        yield
    except TamisError as error:
        message = _told(error.message)
        if message == error.message:
            raise
        hint = error.hint.removeprefix("Use the configuration that scored the date. ")
        raise type(error)(message, code=error.code, hint=hint) from error


def _told(text: str) -> str:
    for target, option in _WRITTEN:
        text = text.replace(target, option)
    return text


def _audited(
    config: Config,
    as_of: date,
    outcome: Target,
    executor: Executor,
    card: str | None,
    progress: Progress | None,
) -> PointsAudit:
    known = {entry.name: entry for entry in resolved_cards(config)}
    opened = open_run(config.model_copy(update={"targets": (outcome,)}))
    out = Path(opened.config.out)
    manifest, scores, ledger = _published(out, as_of - timedelta(days=outcome.horizon_days))
    cards = _cards(scores, ledger, out, card, known)
    check_id_types(scores, opened.given.user_dtype, out)
    bundle, _ = bundle_of(manifest, out)
    end = manifest.as_of + timedelta(days=outcome.horizon_days)
    with workspace(out, run_identity("audit", manifest.as_of, opened.fingerprints)) as work:
        spec, prepared = prepare_labels(
            opened, (outcome,), bundle, end, work=work, executor=executor, progress=progress
        )
        due_targets((outcome,), manifest.as_of, last_day(prepared))
        files = [str(out / record.path) for record in (*scores.records, *ledger.records)]
        spans = executor.map(key_span, files, on_done=track(progress, "read points", len(files)), small=True)
        tasks = [
            OutcomeTask(
                bucket=index,
                keys=keys,
                shelf=portion,
                spec=spec,
                outcome=outcome,
                day=day_number(manifest.as_of),
                scores=tuple(span.file for span in spans[: scores.files] if span.overlaps(keys)),
                ledger=tuple(span.file for span in spans[scores.files :] if span.overlaps(keys)),
                cards=cards,
                rows=scores.rows,
                limit=config.model.max_rows,
                folder=str(work),
                permits=prepared.asked.permits,
            )
            for index, (keys, portion) in enumerate(prepared.portions(prepared.shelf))
        ]
        records = executor.map(outcome_bucket, tasks, on_done=track(progress, "compare", len(tasks)))
        matched = [MatureRecord(record.users, record.all.users, (), (), (), record.withheld) for record in records]
        check_ids(matched, scores, prepared, out)
        ranks = [
            RankTask(tuple(record.files[place] for record in records), tuple(map(str, range(len(entry.rules)))))
            for place, entry in enumerate(cards)
        ]
        rankings = executor.map(rank_card, ranks, on_done=track(progress, "rank", len(ranks)))
    check_unchanged(opened)
    audits = tuple(
        card_audit(entry, known.get(entry.name), place, records, ranking)
        for place, (entry, ranking) in enumerate(zip(cards, rankings, strict=True))
    )
    warnings = [_told(line) for line in lagging((outcome,), spec, manifest.as_of, prepared)]
    withheld = sum(record.withheld for record in records)
    gone = scores.rows - withheld - sum(record.all.users for record in records)
    if gone:
        warnings.append(f"{gone} of {scores.rows} published users are no longer in the log")
    if withheld:
        warnings.append(
            f"{withheld} of {scores.rows} published users are withheld since: they withdrew their consent or object, "
            "and what they did is not counted"
        )
    return PointsAudit(manifest.as_of, outcome, audits, tuple(warnings))


def _published(out: Path, latest: date) -> tuple[Manifest, TableRecord, TableRecord]:
    """The latest date up to `latest` with a ledger of points, its scores and its ledger."""
    dates = sorted(
        day for file in manifests_folder(out).glob("as_of=*.json") if (day := _day(file.stem)) and day <= latest
    )
    for day in reversed(dates):
        manifest = read_manifest(manifests_folder(out) / f"as_of={day}.json")
        tables = {table.name: table for table in manifest.tables}
        if "points" in tables and "scores" in tables and _card_names(tables["scores"]):
            verify_table(out, tables["scores"])
            verify_table(out, tables["points"])
            return manifest, tables["scores"], tables["points"]
    listed = ", ".join(map(str, dates[-10:]))
    raise ConfigError(
        f"no points are published for {latest} or earlier under {out}",
        code="points-not-published",
        hint=f"Published without points: {listed}. Score one of them again."
        if dates
        else "Score an earlier day first.",
    )


def _day(stem: str) -> date | None:
    try:
        return date.fromisoformat(stem.removeprefix("as_of="))
    except ValueError:
        return None


def _card_names(scores: TableRecord) -> list[str]:
    columns = dict(scores.schema)
    return [
        name.removeprefix("points_").removesuffix("_class")
        for name in columns
        if name.startswith("points_") and name.endswith("_class") and columns.get(name[: -len("_class")]) == "Float64"
    ]


def _cards(
    scores: TableRecord, ledger: TableRecord, out: Path, wanted: str | None, known: dict[str, Card]
) -> tuple[PublishedCard, ...]:
    """The published cards; their rules are those of the ledger and, of a card that is configured still, its own."""
    found = _card_names(scores)
    if wanted is not None and wanted not in found:
        raise ConfigError(
            f"no points of a card {wanted!r} are published{did_you_mean(wanted, found)}",
            code="points-card-unknown",
            hint=f"Published: {', '.join(found)}.",
        )
    given: dict[str, set[str]] = {}
    if ledger.records:
        paths = [str(out / record.path) for record in ledger.records]
        scan = pl.scan_parquet(paths, glob=False, hive_partitioning=False)
        for name, rule in scan.select("card", "rule").unique().collect().iter_rows():
            given.setdefault(name, set()).add(rule)
    cards = []
    for name in found if wanted is None else [wanted]:
        own = [rule.name for rule in known[name].rules] if name in known else []
        cards.append(PublishedCard(name, (*own, *sorted(given.get(name, set()) - {*own, CAP_RULE}))))
    return tuple(cards)
