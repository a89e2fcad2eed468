from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from engine.errors import ConfigError
from jobs.app import app
from jobs.report import report_after
from tests.reporting.samples import DATES, publish
from tests.samples import files

LAST, FIRST = str(DATES[-1]), str(DATES[0])


@pytest.fixture(autouse=True)
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawings have tests of their own, and take seconds."""
    monkeypatch.setattr("engine.reporting.page.draw", lambda *_: "<svg></svg>")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    publish(folder)
    return folder


@pytest.fixture
def published(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(root)
    return root


def tamis(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["report", *arguments])


def test_the_last_date_and_the_index(published: Path) -> None:
    done = tamis()
    assert done.exit_code == 0, done.stderr
    assert done.stdout == f"report  out/_reports/as_of={LAST}.html\nindex   out/_reports/index.html\n"
    html = (published / "out" / "_reports" / f"as_of={LAST}.html").read_text(encoding="utf-8")
    assert '<a href="index.html">' in html
    index = (published / "out" / "_reports" / "index.html").read_text(encoding="utf-8")
    assert f'href="as_of%3D{LAST}.html"' in index


def test_the_same_state_gives_the_same_files(published: Path) -> None:
    # The first report of a date changes the index, which tells of it.
    tamis("--cards")
    before = files(published / "out" / "_reports")
    assert tamis("--cards").exit_code == 0
    assert files(published / "out" / "_reports") == before


def test_a_file_of_ones_own_in_another_language(published: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = tamis("--as-of", LAST, "--compare", FIRST, "--to", str(page), "--language", "fr", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout) == {"as_of": LAST, "compare": FIRST, "report": str(page)}
    html = page.read_text(encoding="utf-8")
    assert '<html lang="fr">' in html
    assert "Comparé au 1er mars 2026." in html
    assert "index.html" not in html


@pytest.mark.slow
def test_cards_and_tables(published: Path, tmp_path: Path) -> None:
    done = tamis("--cards", "--tables", str(tmp_path / "tables"), "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    cards = published / "out" / "_reports" / f"as_of={LAST}"
    assert {Path(path) for path in told["cards"]} == {path.absolute() for path in cards.iterdir()}
    for table in told["tables"].values():
        assert Path(table["parquet"]).is_file()
        assert len(Path(table["csv"]).read_text(encoding="utf-8").splitlines()) > table["rows"] - 1
    said = tamis("--cards", "--tables", str(tmp_path / "tables")).stdout
    assert f"tables  {tmp_path}/tables: {len(told['tables'])} tables, each as Parquet and CSV" in said


def test_the_index_alone(published: Path) -> None:
    done = tamis("--index")
    assert (done.exit_code, done.stdout) == (0, "index   out/_reports/index.html\n")
    assert tamis("--index", "-q").stdout == ""


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--as-of", "2020-01-01"), "report-date"),
        (("--as-of", "x"), "day-invalid"),
        (("--compare", LAST, "--as-of", LAST), "report-date"),
        (("--index", "--cards"), "report-options"),
        (("--to", "out/segments/page.html"), "report-target"),
        (("--to", "out"), "report-target"),
        (("--to", "nosuch/page.html"), "to-no-folder"),
        (("--tables", "out/features/tables"), "report-target"),
        (("--out", "nosuch"), "not-published"),
    ],
)
def test_failures(published: Path, options: tuple[str, ...], code: str) -> None:
    before = files(published)
    done = tamis(*options)
    assert done.exit_code == 2
    assert f"error[{code}]" in done.stderr
    assert files(published) == before


def test_without_the_extra(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "minijinja", None)
    done = tamis()
    assert done.exit_code == 2
    assert "error[report-extra-missing]" in done.stderr
    assert "pip install 'tamis[report]'" in done.stderr


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConfigError("what", code="some-code", hint="do this"), "what\nhint: do this"),
        (ValueError("odd"), "ValueError: odd"),
    ],
)
def test_a_report_that_fails_does_not_fail_the_run(
    error: Exception, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("engine.reporting.write.write_report", fail)
    config: Any = SimpleNamespace(out="out", report=None)
    assert report_after(config, date(2026, 1, 1), quiet=False) is None
    assert capsys.readouterr().err == f"warning: the tables are published, but not their report: {words}\n"
    assert report_after(config, date(2026, 1, 1), quiet=True) is None
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("command", ["run", "score"])
def test_a_run_ends_with_its_report(
    command: str,
    tamis: Callable[..., Result],
    folder: Path,
    pipeline: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = SimpleNamespace(report=folder / "out" / "_reports" / "page.html")
    monkeypatch.setattr("engine.reporting.write.write_report", lambda *_: written)
    done = tamis(command, "--as-of", "2026-01-31", "--report")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.endswith("\nreport out/_reports/page.html\n")
    told = json.loads(tamis(command, "--as-of", "2026-01-31", "--report", "--json").stdout)
    assert told["report"] == str(written.report)
    assert "report" not in json.loads(tamis(command, "--as-of", "2026-01-31", "--json").stdout)


def test_reports_are_left_alone_by_what_keeps_the_tables(published: Path) -> None:
    tamis("--cards")
    reports = published / "out" / "_reports"
    before = files(reports)
    runner = CliRunner()
    assert runner.invoke(app, ["verify"]).exit_code == 0
    assert runner.invoke(app, ["gc"]).exit_code == 0
    assert files(reports) == before
