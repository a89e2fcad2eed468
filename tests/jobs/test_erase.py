from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engine.execution.local import LocalExecutor
from engine.pipeline import fit_run, score_run
from jobs.app import app
from tests.samples import AS_OF, TOML, configuration, write_sample

LOCAL = LocalExecutor(threads=1)
QUICK = TOML[: TOML.index("[[targets]]")] + TOML[TOML.index("[clusters]") :].replace(
    "propensity_buys >= 0.5", "r_score = 5"
)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TAMIS_KEY", "a7" * 32)
    file = write_sample(tmp_path / "log", 40, toml=QUICK)
    fit_run(configuration(file), AS_OF, executor=LOCAL)
    score_run(configuration(file), AS_OF, executor=LOCAL)
    return file


def run(config: Path, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["erase", "--config", str(config), *arguments])
    return done.exit_code, done.stdout


def tree(config: Path) -> dict[str, bytes]:
    out = config.parent / "out"
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_without_yes_the_plan_is_printed_and_nothing_is_done(config: Path) -> None:
    before = tree(config)
    for more in ([], ["--dry-run"], ["--dry-run", "--yes", "--reason", "ticket"]):
        status, text = run(config, "7", "nobody", *more)
        assert status == 0, text
        assert "tables" in text
        assert "Would erase 1 person" in text
        assert "Nothing is held about 1 id (number 2 of those given)" in text
        assert "nobody" not in text
    assert tree(config) == before


def test_gd05_erase_by_the_command(config: Path) -> None:
    status, text = run(config, "7", "--reason", "ticket 12", "--yes")
    assert status == 0, text
    assert "Erased 1 person" in text
    assert "Receipt: _privacy/receipts/" in text
    assert "The sources still hold them (contacts, mail, shop: 3 files)" in text
    status, text = run(config, "7", "--reason", "ticket 12", "--yes")
    assert (status, "erased before" in text) == (0, True)


@pytest.mark.slow
def test_as_json(config: Path) -> None:
    status, text = run(config, "7", "nobody", "--reason", "ticket 12", "--yes", "--json", "--quiet")
    done = json.loads(text)
    assert (status, done["erased"], done["known"], done["unknown"]) == (0, True, 1, [2])
    assert done["removed"]["tables"]["rows"] > 0
    assert [(config.parent / "out" / name).is_file() for name in done["receipts"]] == [True]
    status, text = run(config, "8", "--json")
    assert (status, json.loads(text)["erased"]) == (0, False)


def test_ids_of_a_file(config: Path, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("7\n8\n7\n")
    status, text = run(config, "--from", str(tmp_path / "ids.txt"), "--reason", "ticket", "--yes")
    assert (status, "Erased 2 people" in text) == (0, True)


def test_gd05_an_unknown_user_is_told(config: Path) -> None:
    status, text = run(config, "nobody", "--reason", "ticket", "--yes")
    assert (status, "Nothing is held about 1 id" in text) == (0, True)
    assert not (config.parent / "out" / "_privacy").exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["7", "--yes"], "erase-reason"),
        (["--yes", "--reason", "ticket"], "users-missing"),
        (["7", "--yes", "--reason", "asked by x@example.org"], "erase-reason"),
    ],
)
def test_what_is_missing(config: Path, arguments: list[str], code: str) -> None:
    done = CliRunner().invoke(app, ["erase", "--config", str(config), *arguments, "--json"])
    assert done.exit_code == 2
    assert json.loads(done.stdout)["error"]["code"] == code


def test_without_a_key(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TAMIS_KEY")
    done = CliRunner().invoke(app, ["erase", "7", "--config", str(config), "--json"])
    assert (done.exit_code, json.loads(done.stdout)["error"]["code"]) == (2, "key-missing")
