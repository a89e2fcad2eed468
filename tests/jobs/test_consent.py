from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import Result

from engine.execution.local import LocalExecutor
from engine.pipeline import features_run
from tests.consent.logs import frame, saved
from tests.consent.sample import MAILS, NO, PROFILING, YES, YESTERDAY, consents, write
from tests.samples import AS_OF, configuration

Tamis = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    log = consents([(3, MAILS, NO, YESTERDAY), (4, MAILS, NO, YESTERDAY + timedelta(days=9))], users=range(1, 71))
    saved(log, tmp_path / "consents.parquet")
    return tmp_path


def test_gd09_coverage_by_purpose_form_and_source(tamis: Tamis, folder: Path) -> None:
    features_run(configuration(folder / "tamis.toml"), AS_OF, folder / "features", executor=LocalExecutor(threads=1))
    result = tamis("consent", "--as-of", str(AS_OF))
    assert result.exit_code == 0
    assert "80 users in the rollup store" in result.stdout
    answer = json.loads(tamis("consent", "--as-of", str(AS_OF), "--json").stdout)
    purposes = {one["purpose"]: one for one in answer["purposes"]}
    assert (purposes[PROFILING]["granted"], purposes[PROFILING]["never_asked"]) == (70, 10)
    mails = purposes[MAILS]
    assert (mails["granted"], mails["withdrawn"], mails["future"], mails["never_granted"]) == (69, 1, 1, 0)
    assert purposes["transactional"]["never_asked"] == 80
    assert {"purpose": MAILS, "form_version": "v1", "source": "web", "granted": 69, "withdrawn": 1} in answer["proofs"]
    assert answer["log"] == {"read": 212, "used": 211, "users": 70, "future": 1}


def test_without_a_store_nobody_is_said_to_be_unasked(tamis: Tamis, folder: Path) -> None:
    answer = json.loads(tamis("consent", "--as-of", str(AS_OF), "--json").stdout)
    assert answer["users"] is None
    assert all(one["never_asked"] is None for one in answer["purposes"])
    assert "no rollup store yet" in tamis("consent", "--as-of", str(AS_OF)).stdout


def test_rows_that_are_not_used_are_told_by_their_place(tamis: Tamis, folder: Path) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [("ann", PROFILING, YES, at), (None, PROFILING, YES, at), ("bob", None, YES, at)]
    saved(frame(rows), folder / "consents.parquet")
    result = tamis("consent", "--as-of", str(AS_OF))
    assert "2 rows without user, purpose or time are not used" in result.stderr
    assert "row 1" in result.stderr
    assert "ann" not in result.stdout + result.stderr
    assert "warning" not in tamis("consent", "--as-of", str(AS_OF), "--quiet").stderr


def test_without_a_log_it_says_what_to_do(tamis: Tamis, folder: Path) -> None:
    file = folder / "tamis.toml"
    kept = file.read_text().partition('\n[[segments]]\nname = "mailable"')[0]
    file.write_text(kept)
    result = tamis("consent", "--as-of", str(AS_OF))
    assert result.exit_code == 2
    assert "no log of consents" in result.stderr
    assert "[consent]" in result.stderr
