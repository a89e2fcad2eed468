from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from jobs.duplicates import duplicates_app

SECTIONS = """
[contacts]
path = "contacts.parquet"
user_id = "id"

[contacts.duplicates]
exact = ["email"]
compare = { first = 1, last = 2 }
block = ["soundex(last)"]
review = 0.8
merge_exact = true
largest_group = 2
"""
PEOPLE = [
    (1, "a@x.org", "Jean", "Dupont"),
    (2, "A@x.org", "Jeanne", "Dupont"),
    (4, "s@x.org", "Zoé", "Durand"),
    (5, "s@x.org", "Zoe", "Durand"),
    (6, "s@x.org", "Paul", "Martin"),
]

Duplicates = Callable[..., Result]


@pytest.fixture
def duplicates(folder: Path) -> Duplicates:
    with (folder / "tamis.toml").open("a", encoding="utf-8") as file:
        file.write(SECTIONS)
    pl.DataFrame(PEOPLE, ["id", "email", "first", "last"], orient="row").write_parquet(folder / "contacts.parquet")
    return lambda *arguments: CliRunner().invoke(duplicates_app, list(arguments))


def test_what_is_found_is_told_and_written(duplicates: Duplicates, folder: Path) -> None:
    result = duplicates("find")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == [
        "5 contacts, 1 candidate pair compared",
        "pairs: 2 exact, 1 fuzzy; 3 review, 0 merged, 0 confirmed, 0 undone, 0 refused",
        "duplicates: 4 contacts (80.00%) in groups, 2 too many",
        "1 pair would be merged without asking by --apply",
        "out/_contacts/pairs.parquet",
        "out/_contacts/pairs.csv",
    ]
    assert "warning: 3 contacts share one value of email: listed, not merged without asking" in result.stderr
    assert "x.org" not in result.stdout + result.stderr
    assert (folder / "out" / "_contacts" / "pairs.csv").exists()


def test_findings_are_one_json_object(duplicates: Duplicates) -> None:
    found = json.loads(duplicates("find", "--apply", "--json", "--on", "2026-03-01").stdout)
    assert (found["contacts"], found["merged_now"], found["unasked"]) == (5, 1, 0)
    assert found["crowds"] == [{"kind": "exact", "key": "email", "contacts": 3}]
    assert found["duplicate_rate"] == 0.8
    listed = json.loads(duplicates("list", "--json").stdout)
    assert listed["pairs"] == [
        {"user_id": "1", "other_id": "2", "decision": "merged", "on": "2026-03-01", "by": "exact", "stays": "1"}
    ]


def test_a_dry_run_says_what_would_be_and_leaves_nothing(duplicates: Duplicates, folder: Path) -> None:
    result = duplicates("find", "--apply", "--dry-run")
    assert "would be merged: 1 pair" in result.stdout
    assert duplicates("merge", "1", "2", "--dry-run").stdout == "would be: 1 merged\n"
    assert not (folder / "out").exists()


def test_pairs_are_merged_undone_refused_and_listed(duplicates: Duplicates, folder: Path) -> None:
    assert duplicates("merge", "5", "4", "6", "--on", "2026-03-01").stdout.splitlines() == [
        "pairs: 2 merged",
        "2 ids merged into others in all; the next run follows",
    ]
    assert duplicates("undo", "6", "4", "--on", "2026-03-02").exit_code == 0
    assert duplicates("refuse", "1", "6", "--on", "2026-03-02").stdout == "pairs: 1 refused\n"
    result = duplicates("list", "--to", "decided.csv")
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["3", "pairs:", "1", "confirmed,", "1", "undone,", "1", "refused"],
        ["id", "other", "decision", "on", "by", "stays"],
        ["1", "6", "refused", "2026-03-02", "person", "–"],
        ["4", "5", "confirmed", "2026-03-01", "person", "4"],
        ["4", "6", "undone", "2026-03-02", "person", "–"],
    ]
    assert pl.read_csv(folder / "decided.csv").height == 3
    assert duplicates("list", "--decision", "undone").stdout.splitlines()[0] == "1 pair: 1 undone"


def test_one_file_with_decisions_does_it_all(duplicates: Duplicates, folder: Path) -> None:
    (folder / "pairs.csv").write_text("user_id,other_id,decision\n1,2,merge\n4,5,refuse\n4,6,review\n")
    assert json.loads(duplicates("merge", "--from", "pairs.csv", "--json").stdout) == {
        "merged": 1,
        "undone": 0,
        "refused": 1,
        "unchanged": 1,
        "outdated": 0,
        "dry_run": False,
        "merged_ids": 1,
    }
    assert duplicates("undo", "--from", "pairs.csv").stdout == "pairs: nothing\n"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("merge",), "duplicates-pairs"),
        (("merge", "1"), "duplicates-pairs"),
        (("merge", "1", "2", "--from", "f.csv"), "duplicates-pairs"),
        (("undo", "1", "2", "4"), "duplicates-pairs"),
        (("undo", "1", "2"), "duplicates-not-merged"),
        (("refuse", "1", "99"), "duplicates-unknown"),
        (("merge", "--from", "none.csv"), "duplicates-pairs-file"),
        (("merge", "1", "2", "--on", "yesterday"), "as-of-invalid"),
    ],
)
def test_what_cannot_be_done_is_refused(duplicates: Duplicates, arguments: tuple[str, ...], code: str) -> None:
    result = duplicates(*arguments)
    assert getattr(result.exception, "code", None) == code
