"""Totals from one run to the next: which a run can use, and which it leaves behind."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from engine.features.spec import FeatureSpec
from engine.rollups.bucket import Shelf
from engine.rollups.checkpoint import plan_forward
from engine.rollups.index import Checkpoint, write_index
from engine.rollups.update import store_folder, sweep
from engine.stages.features import terms_of
from engine.stages.preparation import Prepared
from engine.tables.manifest import FileRecord


def forward_shelf(prepared: Prepared, spec: FeatureSpec, out: Path, *, rows: bool = False) -> Shelf:
    """The rows of a run, with the totals that it can bring forward.

    Families of features need all rows, and so do inputs that ask for purposes.

    Args:
        prepared: The store.
        spec: The features.
        out: Output root.
        rows: Whether something else needs all rows, too; see `engine.features.measures.needs_rows`.
    """
    shelf, permits = prepared.shelf, prepared.asked.permits
    # Totals hold the events of all types together: what does not count for a user cannot be taken out of them.
    by_purpose = permits is not None and permits.inputs is not None
    if spec.families or rows or by_purpose:
        return shelf
    store = store_folder(out)
    terms = terms_of(spec, shelf.codes, len(prepared.buckets))
    forward = plan_forward(prepared.index, terms, shelf.end_day, store)
    if forward is not None and forward.keep is not None:
        units = [[file.path for file in entry.daily] for entry in prepared.index.entries]
        mark = hashlib.sha256(f"{shelf.end_day} {terms} {units}".encode()).hexdigest()[:12]
        forward = replace(forward, keep=f"{forward.keep}/{mark}")
    return replace(shelf, forward=forward)


def keep_totals(prepared: Prepared, shelf: Shelf, tables: Sequence[FileRecord | None], out: Path) -> None:
    """Make the tables of totals of a run the checkpoint of the store; nothing happens where none were made."""
    forward = shelf.forward
    files = tuple(file for file in tables if file is not None)
    if forward is None or forward.keep is None or len(files) != len(tables):
        return
    terms, store = forward.terms, store_folder(out)
    checkpoint = Checkpoint(
        day=shelf.end_day,
        windows=terms.windows,
        codes=terms.codes,
        priced=terms.priced,
        purchase=terms.purchase,
        units=tuple(
            (entry.source, entry.label, tuple(file.path for file in entry.daily)) for entry in prepared.index.entries
        ),
        files=files,
    )
    write_index(replace(prepared.index, checkpoint=checkpoint), store)
    sweep(store)
