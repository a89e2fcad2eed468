from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
from typer.testing import Result

from engine.explanation import Explanation, Question
from engine.propensity.explain import reasons_schema
from engine.record import RunRecord, TableSummary

Tamis = Callable[..., Result]
SCORES = pl.DataFrame(
    {"user_id": [3, 4, 5], "target": ["buys"] * 3, "probability": [0.3412, None, 0.5]},
    {"user_id": pl.Int64, "target": pl.String, "probability": pl.Float64},
)
REASONS = pl.DataFrame(
    [
        (3, "buys", 1, "orders", "3", "raises", 0.8123, "3 purchases raise the probability"),
        (3, "buys", 2, "region", "\x1b[31mOslo", "lowers", -0.25, "The value “\x1b[31mOslo” of region lowers"),
    ],
    reasons_schema(pl.Int64()),
    orient="row",
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """An engine that notes what it was asked, and answers with the reasons of user 3."""
    state = SimpleNamespace(calls=[])

    def explain_run(config: object, as_of: date, question: Question, **others: object) -> Explanation:
        del config
        state.calls.append((as_of, question, others["bundle"], others["to"]))
        counts = {"asked": 4, "users": 3, "reasons": 2, "unknown": ["9"], "warnings": ["1 of the asked users is gone"]}
        tables = {"reasons": TableSummary("reasons", 2, 1, 99)} if others["to"] else {}
        return Explanation(RunRecord("r1", as_of, counts, {}, tables, "out/b1"), REASONS, SCORES, ("9",))

    monkeypatch.setattr("engine.explanation.explain_run", explain_run)
    return state


def test_reasons_are_printed_user_by_user(tamis: Tamis, folder: Path, asked: SimpleNamespace) -> None:
    result = tamis("explain", "--as-of", "2026-03-01", "--user", "3", "--user", "4", "--user", "3")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == [
        "",
        "User 3, buys: 34.1%",
        "  log-odds  reason",
        "  +0.812    3 purchases raise the probability",
        "  -0.250    The value “[31mOslo” of region lowers",
        "",
        "User 4, buys: outside the population",
        "",
        "User 5, buys: 50.0%",
        "  no feature moves the score",
    ]
    assert "warning: 1 of the asked users is gone" in result.stderr
    assert asked.calls == [(date(2026, 3, 1), Question(("3", "4")), None, None)]


def test_options_reach_the_engine(tamis: Tamis, folder: Path, asked: SimpleNamespace) -> None:
    Path("ids.txt").write_text("7\n8\n", encoding="utf-8")
    options = (
        "--users",
        "ids.txt",
        "--target",
        "buys",
        "--top",
        "2",
        "--language",
        "fr",
        "--bundle",
        "b",
        "--to",
        "to",
    )
    result = tamis("explain", "--as-of", "2026-03-01", *options)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "2 reasons for 3 users in to\n"
    assert asked.calls == [(date(2026, 3, 1), Question(("7", "8"), "buys", 2, "fr"), Path("b"), Path("to"))]


@pytest.mark.parametrize("to", [(), ("--to", "to")])
def test_json_has_the_reasons_unless_they_are_written(
    tamis: Tamis, folder: Path, asked: SimpleNamespace, to: tuple[str, ...]
) -> None:
    result = tamis("explain", "--as-of", "2026-03-01", "--user", "3", "--json", "--quiet", *to)
    answer = json.loads(result.stdout)
    assert answer["counts"]["unknown"] == ["9"]
    assert ("reasons" in answer) is (not to)
    if not to:
        assert answer["reasons"][0]["sentence"] == "3 purchases raise the probability"
        assert answer["scores"][1] == {"user_id": 4, "target": "buys", "probability": None}
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ((), "users-missing"),
        (("--users", "gone.txt"), "users-unreadable"),
        (("--user", "3", "--top", "0"), "usage"),
        (("--user", "3", "--language", "de"), "usage"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    tamis: Tamis, folder: Path, asked: SimpleNamespace, options: tuple[str, ...], code: str
) -> None:
    result = tamis("explain", "--as-of", "2026-03-01", *options)
    assert result.exit_code == 2
    assert f"error[{code}]" in result.stderr
    assert asked.calls == []
