from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from engine.bundle_store import rollback_bundle, write_bundle
from engine.cluster_history import first_free_id, history, moved
from engine.clusters.moves import APART, Moves
from engine.tables.layout import bundles_folder
from tests.bundles import DAY, bundle, clusters

LATER = DAY + timedelta(days=1)


def write(out: Path, next_id: int, as_of: date = DAY, *, promote: bool = True) -> Path:
    found = clusters(k_max=2)
    numbered = replace(found, clustering=replace(found.clustering, next_id=next_id))
    made = bundle(next_id, clusters=numbered, as_of=as_of)
    return write_bundle(made, out / "_work" / str(next_id), out, promote=promote)


def test_no_id_is_given_twice_whatever_became_of_the_bundle(tmp_path: Path) -> None:
    assert first_free_id(tmp_path, DAY) == 0
    write(tmp_path, 3)
    assert (first_free_id(tmp_path, DAY), first_free_id(tmp_path, LATER)) == (0, 3)
    write(tmp_path, 5, promote=False)
    assert first_free_id(tmp_path, LATER) == 5
    write(tmp_path, 8)
    rollback_bundle(tmp_path)
    assert first_free_id(tmp_path, LATER) == 8
    write(tmp_path, 11, LATER)
    assert first_free_id(tmp_path, LATER) == 8
    assert first_free_id(tmp_path, LATER + timedelta(days=1)) == 11


@pytest.mark.parametrize("spoil", ["clusters.json", "bundle.json", "current"])
def test_what_cannot_be_read_does_not_count(spoil: str, tmp_path: Path) -> None:
    folder = write(tmp_path, 3)
    (bundles_folder(tmp_path) / spoil if spoil == "current" else folder / spoil).write_text("[")
    assert first_free_id(tmp_path, LATER) == 0


def test_bundles_without_clusters_have_no_ids(tmp_path: Path) -> None:
    write_bundle(bundle(), tmp_path / "_work" / "b", tmp_path)
    assert first_free_id(tmp_path, LATER) == 0


def test_who_came_and_who_left() -> None:
    moves = Moves(((0, 0, 5), (0, 1, 2), (1, APART, 3), (APART, 0, 4)))
    assert moved(moves, 0) == (4, 2)
    assert moved(moves, 1) == (2, 3)
    assert moved(moves, APART) == (3, 4)
    assert moved(moves, 7) == (0, 0)
    assert moved(None, 0) == (None, None)


def test_a_history_of_nothing() -> None:
    assert history([]).is_empty()
