from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from jobs.app import app
from tests.reporting.samples import DATES, publish
from tests.samples import files


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("show")
    publish(folder)
    return folder


@pytest.fixture
def published(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(root)
    return root


def tamis(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["show", *arguments])


def test_the_last_date_in_the_terminal(published: Path) -> None:
    before = files(published)
    done = tamis()
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == ["Segments on 15 March 2026", "Compared with 8 March 2026."]
    assert any(line.startswith("segment ") and line.endswith("trend") for line in lines)
    assert any(line.startswith("  • ") for line in lines)
    assert files(published) == before


def test_another_date_reader_and_language(published: Path) -> None:
    done = tamis("--as-of", str(DATES[1]), "--compare", str(DATES[0]), "--for", "all", "--language", "fr")
    assert done.stdout.startswith("Segments au 8 mars 2026\nComparé au 1er mars 2026.\n")
    assert len(done.stdout) > len(tamis("--as-of", str(DATES[1]), "--language", "fr").stdout)


def test_json(published: Path) -> None:
    told = json.loads(tamis("--json").stdout)
    assert (told["as_of"], told["compare"]) == (str(DATES[-1]), str(DATES[-2]))
    assert {"segment", "label", "users", "share", "change", "value", "trend"} == told["segments"][0].keys()
    sizes = [line["users"] for line in told["segments"] if line["users"] is not None]
    assert sizes == sorted(sizes, reverse=True)
    assert all(
        section["sentences"] or section["missing"] for section in told["sections"] if section["key"] == "changes"
    )


@pytest.mark.parametrize(
    ("options", "code"),
    [(("--as-of", "2020-01-01"), "report-date"), (("--out", "nosuch"), "not-published"), (("--for", "me"), "usage")],
)
def test_failures(published: Path, options: tuple[str, ...], code: str) -> None:
    done = tamis(*options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"error[{code}]" in done.stderr
