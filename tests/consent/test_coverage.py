from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl

from engine.config_consent import Consent
from engine.consent.coverage import Coverage, coverage
from engine.privacy.ids import IdRules
from tests.consent.logs import DAY, MIDNIGHT, Row, frame, saved

HOUR = timedelta(hours=1)
YES, NO = "granted", "withdrawn"
P, E = "profiling", "email_marketing"


def covered(
    folder: Path, rows: list[Row], users: list[str] | None = None, links: pl.DataFrame | None = None
) -> Coverage:
    log = Consent(path=str(saved(frame(rows), folder / "log.parquet")))
    files = None
    if users is not None:
        files = [str(saved(pl.DataFrame({"user_id": users}), folder / "users.parquet"))]
    return coverage(log, DAY, "UTC", ids=IdRules(), links=links, users=files)


def test_gd09_granted_withdrawn_never_asked(tmp_path: Path) -> None:
    rows: list[Row] = [
        ("a", P, YES, MIDNIGHT - HOUR),
        ("b", P, YES, MIDNIGHT - 2 * HOUR),
        ("b", P, NO, MIDNIGHT - HOUR),
        ("c", P, NO, MIDNIGHT - HOUR),
        ("d", P, YES, MIDNIGHT - HOUR),
        ("d", P, NO, MIDNIGHT - HOUR),
        ("e", P, YES, MIDNIGHT + HOUR),
        ("stranger", P, YES, MIDNIGHT - HOUR),
    ]
    one = covered(tmp_path, rows, users=list("abcdefgh")).purposes[0]
    assert (one.purpose, one.granted, one.withdrawn, one.never_asked) == (P, 2, 3, 4)
    assert (one.never_granted, one.contradictory, one.future) == (1, 1, 1)


def test_proofs_are_those_of_the_last_word(tmp_path: Path) -> None:
    rows = [
        ("a", P, YES, MIDNIGHT - 2 * HOUR, "v1", "web"),
        ("a", P, YES, MIDNIGHT - HOUR, "v2", "shop"),
        ("b", P, YES, MIDNIGHT - 2 * HOUR, "v1", "web"),
        ("c", P, NO, MIDNIGHT - 2 * HOUR, None, None),
    ]
    proofs = covered(tmp_path, rows).proofs  # type: ignore[arg-type]
    assert [(one.form_version, one.source, one.granted, one.withdrawn) for one in proofs] == [
        ("v1", "web", 1, 0),
        ("v2", "shop", 1, 0),
        (None, None, 0, 1),
    ]


def test_linked_ids_are_one_user(tmp_path: Path) -> None:
    rows: list[Row] = [("old", P, NO, MIDNIGHT - HOUR), ("new", P, YES, MIDNIGHT - 2 * HOUR)]
    links = pl.DataFrame({"from_id": ["old"], "to_id": ["new"]})
    one = covered(tmp_path, rows, users=["new"], links=links).purposes[0]
    assert (one.granted, one.withdrawn, one.never_granted, one.never_asked) == (0, 1, 0, 0)


def test_an_empty_log_says_that_nobody_was_asked(tmp_path: Path) -> None:
    found = covered(tmp_path, [], users=["a", "b"])
    assert [one.never_asked for one in found.purposes] == [2] * 4
    assert found.proofs == ()
    assert found.record.rows == 0
