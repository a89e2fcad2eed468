"""What a date that was published late or again means for the dates after it: their ledgers are made anew.

The manifest of each date says which state of which date its ledger was made from. Where that is no longer so, the
tables of the ledger are made again from the published tables of the date itself and of the date before, with the run id
of the date, and only they are replaced. The walk goes on from there as long as a ledger changes; a date whose ledger is
what it would be now is not touched.

A run notes the date that it publishes in `_work/ledger.json` when later ones are published, and removes the note when
they are correct. A run that dies in between leaves the note, and the next run begins there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

from engine.execution.protocol import Executor
from engine.ledger.bucket import (
    LEDGER,
    BucketFiles,
    LedgerRecord,
    LedgerTask,
    Scored,
    ledger_bucket,
    ledger_counts,
    ledger_tasks,
)
from engine.ledger.flows import flows_table
from engine.ledger.previous import features_of, has_ledger, ledger_of, link_of, parts_of, previous_of, user_type
from engine.progress import Progress, track
from engine.tables import disk
from engine.tables.compact import Unpublished, compact
from engine.tables.durable import durable_json, durable_parquet
from engine.tables.layout import TABLES, manifest_path, table_folder, work_folder, work_root
from engine.tables.manifest import Manifest, TableRecord, dtypes_of, read_manifest, table_record
from engine.tables.publish import discard, publish_part
from engine.why.published import published_dates

if TYPE_CHECKING:
    from pydantic import JsonValue

_NOTE: Final = "ledger.json"


def note_publish(out: Path, as_of: date) -> None:
    """Note that a date is about to be published, when later ones are; call it right before `publish`."""
    if any(day > as_of for day in published_dates(out)):
        since = min(as_of, pending_correction(out) or as_of)
        durable_json({"since": since.isoformat()}, work_root(out) / _NOTE)


def correct_later(
    out: Path, as_of: date, executor: Executor, progress: Progress | None = None, *, until: date | None = None
) -> tuple[date, ...]:
    """Make the ledgers anew that a publish made wrong; call it under `writer_lock`, right after `publish`.

    A date is left as it is when the date before it was removed: what it was made from was right.

    Args:
        out: The output root.
        as_of: The date that was published.
        executor: Where the tasks run.
        progress: Told how far each corrected date is.
        until: The next date that the caller publishes or corrects: it and those after it are left for then, and the
            note stays, so that dates that are published again in order are corrected once and not each time.

    Returns:
        The dates whose ledgers were replaced, ascending; none when nothing was to be done.

    Raises:
        IntegrityError: Published files are not those of their manifests. The note stays: the next run begins there.
    """
    start = min(as_of, pending_correction(out) or as_of)
    dates = published_dates(out)
    earlier = [day for day in reversed(dates) if day < start]
    manifests = (read_manifest(manifest_path(out, day)) for day in earlier)
    before = next((manifest for manifest in manifests if has_ledger(manifest)), None)
    corrected = []
    later = [day for day in dates if day >= start]
    for day in later:
        if until is not None and day >= until:
            break
        manifest = read_manifest(manifest_path(out, day))
        if not has_ledger(manifest):
            continue
        if before is not None and is_broken(manifest, before):
            manifest = _correct(manifest, before, out, executor, progress)
            corrected.append(day)
        before = manifest
    if until is not None and before is not None and later and later[-1] >= until:
        durable_json({"since": before.as_of.isoformat()}, work_root(out) / _NOTE)
    else:
        disk.remove_file(work_root(out) / _NOTE)
    return tuple(corrected)


def pending_correction(out: Path) -> date | None:
    """The first date whose later ones a run that died has left to be corrected; None when there is none."""
    # A note that cannot be read was cut by no crash (it is written whole): then all dates are looked at.
    path = work_root(out) / _NOTE
    if not path.exists():
        return None
    with suppress(ValueError, KeyError, TypeError):
        return date.fromisoformat(json.loads(path.read_bytes())["since"])
    return date.min


def is_broken(manifest: Manifest, before: Manifest) -> bool:
    """Whether the ledger of a date was not made from what the date before it is now.

    Args:
        manifest: The date.
        before: The latest date before it that has a ledger.
    """
    recorded = ledger_of(manifest).get("previous")
    if not isinstance(recorded, dict):
        return True
    link = link_of(before)
    if recorded.get("as_of") == link.as_of.isoformat():
        return recorded.get("memberships") != link.memberships
    return str(recorded.get("as_of")) < link.as_of.isoformat()


def _correct(
    manifest: Manifest, before: Manifest, out: Path, executor: Executor, progress: Progress | None
) -> Manifest:
    work = work_folder(out, manifest.run_id)
    disk.make_folder(work)
    try:
        scored = published_scored(manifest, out)
        previous = previous_of(before, out, rekeyed=scored.rekeyed)
        tasks = ledger_tasks(scored, previous, work)
        on_done = track(progress, f"ledger of {manifest.as_of}", len(tasks))
        records = executor.map(ledger_bucket, tasks, on_done=on_done)
        made = ledger_records(tasks, records, executor)
        corrected = _with_ledger(manifest, made, ledger_counts(scored, previous, records))
        publish_part(work, out, corrected, LEDGER)
    finally:
        discard(work)
    return corrected


def published_scored(manifest: Manifest, out: Path) -> Scored:
    """A published date as its ledger is made from it."""
    tables = {table.name: table for table in manifest.tables}
    ledger = ledger_of(manifest)
    files = {
        name: {number: str(out / path) for number, path in parts_of(tables[name])} if name in tables else {}
        for name in ("memberships", "features", "scores")
    }
    definitions = tables.get("segment_definitions")
    return Scored(
        as_of=manifest.as_of,
        run_id=manifest.run_id,
        user_dtype=user_type(manifest) or "String",
        rekeyed=int(str(ledger["rekeyed"])),
        buckets=tuple(
            BucketFiles(*(files[name].get(number) for name in ("memberships", "features", "scores")))
            for number in range(int(str(ledger["buckets"])))
        ),
        definitions=() if definitions is None else tuple(str(out / path) for _, path in parts_of(definitions)),
        spec=features_of(manifest),
        told=_told(manifest, out),
    )


def _told(manifest: Manifest, out: Path) -> tuple[str, ...]:
    """Files of the changes of a date that has withheld users; none of others."""
    changes = next((table for table in manifest.tables if table.name == "membership_changes"), None)
    if changes is None or "withheld" not in manifest.counts:
        return ()
    return tuple(str(out / path) for _, path in parts_of(changes))


def ledger_records(
    tasks: Sequence[LedgerTask], records: Sequence[LedgerRecord], executor: Executor
) -> tuple[TableRecord, ...]:
    """The staged tables of the ledger over all buckets, for a manifest; one without rows is left out.

    Args:
        tasks: The buckets.
        records: What became of them.
        executor: Where the files of changes and history are written.
    """
    first = tasks[0]
    as_of, staging = first.scored.as_of, Path(first.staging)
    flows = flows_table(flow for each in records for flow in each.flows)
    members = table_record("memberships", as_of, records[0].schema, [file for each in records for file in each.files])
    others = [
        Unpublished(name, tuple(piece for each in records for piece in each.pieces[name]), first.mark)
        for name in records[0].pieces
    ]
    made = [*compact(others, as_of, staging=staging, executor=executor), members]
    if flows.height:
        folder = table_folder(staging, "segment_flows", as_of)
        file = durable_parquet(flows, folder, f"part-00000-{first.mark}", root=staging)
        made.insert(0, table_record("segment_flows", as_of, dtypes_of(flows.schema), [file]))
    return tuple(table for table in made if table.rows)


def _with_ledger(manifest: Manifest, made: Sequence[TableRecord], ledger: Mapping[str, JsonValue]) -> Manifest:
    kept = {table.name: table for table in manifest.tables if table.name not in LEDGER}
    tables = kept | {table.name: table for table in made}
    counts: dict[str, JsonValue] = {**manifest.counts, "ledger": dict(ledger)}
    return replace(manifest, counts=counts, tables=tuple(tables[name] for name in TABLES if name in tables))
