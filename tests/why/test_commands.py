from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
import typer
from typer.testing import CliRunner, Result

from engine.errors import ConfigError
from engine.explanation import Explanation, Question
from engine.propensity.explain import reasons_schema
from engine.record import RunRecord
from jobs.app import GuardedGroup
from jobs.segments import segments_app
from jobs.why import why
from tests.samples import AS_OF
from tests.why.published_sample import Sample

Tamis = Callable[..., Result]
DAY = str(AS_OF)


@pytest.fixture
def tamis(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> Tamis:
    monkeypatch.chdir(sample.file.parent)
    app = typer.Typer(cls=GuardedGroup)
    app.command()(why)
    app.add_typer(segments_app, name="segments")
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def test_why_tells_verdict_clauses_and_events(tamis: Tamis) -> None:
    result = tamis("why", "5", "buyers", "--as-of", DAY)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "User 5 on 2026-03-01 (run run-2026-03-01)"
    assert lines[lines.index("  rule: purchase_count_30d > 0 AND NOT region = 'sud'") - 1 :][:5] == [
        "  ✓ in it since 2026-03-01, 0 days",
        "  rule: purchase_count_30d > 0 AND NOT region = 'sud'",
        "  ✓ purchase_count_30d > 0   [purchase_count_30d = 2]",
        "      purchase, from 2026-01-30, before 2026-03-01: 2 events — 2026-02-16 (1), 2026-02-21 (1)",
        "  ✓ NOT (region = 'sud')   [region = no value]",
    ]


def test_why_answers_as_json_and_in_french(tamis: Tamis) -> None:
    found = json.loads(tamis("why", "5", "--as-of", DAY, "--json").stdout)
    assert [entry["segment"] for entry in found["segments"]] == ["buyers", "offer_shown"]
    assert found["segments"][0]["clauses"][0]["values"] == {"purchase_count_30d": 2}
    assert found["memberships"][0]["previous_segment"] == "openers"
    french = tamis("why", "5", "--as-of", DAY, "--language", "fr", "--all").stdout
    assert "Utilisateur 5 au 2026-03-01" in french
    assert "Derniers changements" in french


def test_why_answers_for_the_latest_date(tamis: Tamis) -> None:
    assert tamis("why", "5", "buyers").stdout == tamis("why", "5", "buyers", "--as-of", DAY).stdout


def test_reasons_are_told_in_the_language(tamis: Tamis) -> None:
    assert "first run" in tamis("why", "5").stdout
    french = tamis("why", "5", "--language", "fr").stdout
    assert "première exécution" in french
    assert "first run" not in french


def test_why_fails_with_a_hint(tamis: Tamis) -> None:
    result = tamis("why", "999", "--as-of", DAY)
    assert result.exit_code == 2
    assert "error[user-unknown]: no user '999'" in result.stderr


@pytest.fixture
def reasons(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    state = SimpleNamespace(asked=[], error=None)

    def explain_run(config: object, as_of: object, question: Question, **others: object) -> Explanation:
        del config, others
        state.asked.append((as_of, question))
        if state.error is not None:
            raise state.error
        scores = pl.DataFrame({"user_id": [5], "target": ["buys"], "probability": [0.25]})
        rows = [(5, "buys", 1, "orders", "3", "raises", 0.8123, "3 achats augmentent la probabilité")]
        table = pl.DataFrame(rows, reasons_schema(pl.Int64()), orient="row")
        return Explanation(RunRecord("r1", AS_OF, {}, {}, {}, "b1"), table, scores, ())

    monkeypatch.setattr("engine.explanation.explain_run", explain_run)
    return state


def test_scores_are_explained_on_demand(tamis: Tamis, reasons: SimpleNamespace) -> None:
    assert tamis("why", "5", "--as-of", DAY).exit_code == 0
    assert reasons.asked == []
    result = tamis("why", "5", "--as-of", DAY, "--scores", "--language", "fr", "-q")
    assert result.stdout.splitlines()[-2:] == ["Score buys : 25.0%", "  +0.812  3 achats augmentent la probabilité"]
    assert reasons.asked == [(AS_OF, Question(("5",), None, language="fr"))]
    reasons.error = ConfigError("no model", code="target-unknown")
    assert tamis("why", "5", "--as-of", DAY, "--scores", "-q").exit_code == 2


def test_segments_are_listed_and_shown(tamis: Tamis, tmp_path: Path) -> None:
    listed = tamis("segments", "list", "--to", str(tmp_path / "list.csv"))
    assert listed.exit_code == 0, listed.stderr
    assert listed.stdout.splitlines()[0] == "Segments on 2026-03-01: 80 users, changes since 2026-02-15"
    assert pl.read_csv(tmp_path / "list.csv")["segment"][0] == "buyers"
    assert len(json.loads(tamis("segments", "list", "--json").stdout)["segments"]) == 9
    shown = tamis("segments", "show", "buyers")
    assert "used by         asleep_buyers" in shown.stdout
    holds = [line for line in shown.stdout.splitlines() if line.startswith("rule holds for")]
    assert holds == [
        f"rule holds for  {json.loads(tamis('segments', 'show', 'buyers', '--json').stdout)['line']['users']} users"
    ]
    reach = json.loads(tamis("segments", "show", "openers", "--json").stdout)["reach"]
    taken = ", ".join(f"{name} {users}" for name, users in reach["taken"])
    number = sum(users for _, users in reach["taken"])
    assert (
        f"rule holds for  {reach['users']} users; segments tried before it take {number} of them: {taken}"
        in tamis("segments", "show", "openers").stdout
    )
    assert json.loads(tamis("segments", "show", "asleep", "--json").stdout)["reach"] is None
    assert json.loads(tamis("segments", "show", "buyers", "--json").stdout)["depends_on"] == []
    assert tamis("segments", "show", "bayers").exit_code == 2


@pytest.mark.parametrize(
    ("options", "code"),
    [((), 0), (("--strict",), 4), (("--set", "guards.empty=off", "--no-data"), 0), (("--json",), 0)],
)
def test_lint_ends_with_a_code(tamis: Tamis, options: tuple[str, ...], code: int) -> None:
    result = tamis("segments", "lint", *options)
    assert result.exit_code == code, result.stderr
    assert "missing values" in result.stdout


def test_lint_stops_at_errors(tamis: Tamis, sample: Sample, tmp_path: Path) -> None:
    text = sample.file.read_text(encoding="utf-8").replace("engagement_score > 40", "engagement_skore > 40")
    (sample.file.parent / "wrong.toml").write_text(text, encoding="utf-8")
    result = tamis("segments", "lint", "-c", "wrong.toml")
    assert result.exit_code == 2
    assert "error[rule] 'openers':" in result.stdout
    assert "^^^^^^^^^^^^^^^^" in result.stdout
    assert "1 error, 1 warning, 0 notes" in result.stdout


def test_a_rule_is_previewed(tamis: Tamis, tmp_path: Path) -> None:
    rule = "purchase_count_30d > 0 AND region = 'sud'"
    result = tamis("segments", "preview", rule, "--name", "x", "--by", "region", "--to", str(tmp_path / "o.parquet"))
    assert result.exit_code == 0, result.stderr
    users = json.loads(tamis("segments", "preview", rule, "--json").stdout)["users"]
    assert result.stdout.startswith(f"'x' has {users} of 80 users ({users / 80:.1%}) on 2026-03-01\n")
    assert f"\n  as a tag: {users} users\n  at the end of the group primary: " in result.stdout
    overlaps = pl.read_parquet(tmp_path / "o.parquet")
    assert overlaps.height == 9
    apart = overlaps.filter(pl.col("both") == 0)["segment"]
    assert f"no user in common with {len(apart)} other segments" in result.stdout
    assert not [line for line in result.stdout.splitlines() if line.split(" ")[0] in set(apart)]
    slip = tamis("segments", "preview", "region = 'Nord-Ete'").stdout
    assert slip.splitlines()[1] == "  note: no user has 'Nord-Ete' in region (did you mean 'nord-été'?)"
    assert tamis("segments", "preview", rule, "--by", "regio").exit_code == 2
    assert "no column 'regio'" in tamis("segments", "preview", "regio = 'sud'").stderr


def test_a_segment_is_frozen(tamis: Tamis, tmp_path: Path) -> None:
    result = tamis("segments", "freeze", "buyers", "--as-of", DAY, "--to", str(tmp_path / "buyers.csv"))
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[:2] == ["[[segments]]", 'name = "buyers 2026-03-01"']
    assert tamis("segments", "freeze", "buyers", "--as-of", DAY, "--to", str(tmp_path / "buyers.csv")).exit_code == 2
    latest = tamis("segments", "freeze", "buyers", "--to", str(tmp_path / "latest.csv"))
    assert latest.stdout.replace("latest.csv", "buyers.csv") == result.stdout
    (tmp_path / "no.csv").write_text(f"user_id\n{pl.read_csv(tmp_path / 'buyers.csv')['user_id'][0]}\n")
    less = ("segments", "freeze", "buyers", "--set", f"privacy.opposed=['{tmp_path / 'no.csv'}']", "--to")
    told = tamis(*less, str(tmp_path / "without.csv"))
    assert "(1 more of the date left out: they have withdrawn since, or object)" in told.stderr
    found = json.loads(tamis(*less, str(tmp_path / "again.csv"), "--json").stdout)
    assert (found["withheld"], found["without_consent"]) == (1, 0)


def test_a_history_is_printed(tamis: Tamis, tmp_path: Path) -> None:
    result = tamis("segments", "history", "buyers", "--to", str(tmp_path / "h.parquet"))
    assert result.exit_code == 0, result.stderr
    table = pl.read_parquet(tmp_path / "h.parquet")
    assert result.stdout.startswith(f"{table.height} intervals up to 2026-03-01")
    assert json.loads(tamis("segments", "history", "--user", "5", "--json").stdout)["rows"] >= 2
    assert "error[history-of-what]" in tamis("segments", "history").stderr
