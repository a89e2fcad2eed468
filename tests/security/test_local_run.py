from __future__ import annotations

import base64
import pickle
from pathlib import Path

import numpy as np
import pytest

from tests.security.conftest import CANARY, Watched, watch
from tests.security.searching import as_json, holding, pickles


def test_a_local_run_opens_no_sockets(local_run: Watched) -> None:
    assert local_run.code == 0, local_run.told
    assert local_run.sockets == set()
    assert [line for line in local_run.notes if line.startswith("socket.")] == []
    # The hook was there, in the run and in the process that opens footers.
    assert sum(line.startswith("process ") for line in local_run.notes) >= 2


def test_a_local_run_imports_no_cluster(local_run: Watched) -> None:
    assert [line for line in local_run.notes if line.startswith("import ")] == []


def test_no_secret_of_the_environment_is_written(local_run: Watched) -> None:
    assert CANARY not in local_run.told
    assert holding(CANARY, local_run.folder) == []
    assert [command for command in local_run.commands if CANARY in command] == []


def test_nothing_that_is_kept_is_a_pickle(local_run: Watched) -> None:
    assert list(pickles(local_run.out)) == []


def test_secrets_are_not_in_what_a_failure_says(tmp_path: Path) -> None:
    failed = watch(tmp_path / "run", "run", "--as-of", "2026-03-01", "-c", "nosuch.toml", "--json")
    assert failed.code == 2
    assert CANARY not in failed.told


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_pickle_would_be_found(tmp_path: Path, protocol: int) -> None:
    content = pickle.dumps({"a": (1, "b")}, protocol)
    (tmp_path / "record").write_bytes(content)
    (tmp_path / "journal.json").write_text(as_json({"task": base64.b64encode(content).decode()}), encoding="ascii")
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object))
    np.save(tmp_path / "numbers.npy", np.arange(3))
    assert len(list(pickles(tmp_path))) == 3


def test_a_secret_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "plain.log").write_text(f"key={CANARY}\n", encoding="ascii")
    for shift in range(3):
        (tmp_path / f"{shift}.bin").write_bytes(base64.b64encode(b"." * shift + CANARY.encode() + b"..."))
    assert len(holding(CANARY, tmp_path)) == 4
