from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from jobs.app import app as tamis
from jobs.later import add_command_later, add_later

MODULE = """\
import typer

later_app = typer.Typer()


@later_app.command()
def hum() -> None:
    print("hm")


@later_app.command()
def whistle(times: int = 1) -> None:
    print("fiu" * times)
"""


def test_a_group_is_imported_when_one_of_its_commands_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tunes_of_a_test.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    app = typer.Typer()
    app.command()(lambda: None)
    add_later(app, "tune", "tunes_of_a_test:later_app", help_text="Make a sound.", panel="Noise")

    def said(*arguments: str) -> str:
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        return result.output

    shown = said("--help")
    assert "Noise" in shown
    assert "Make a sound." in shown
    assert "tunes_of_a_test" not in sys.modules
    assert said("tune", "whistle", "--times", "2") == "fiufiu\n"
    listed = said("tune", "--help")
    assert "Make a sound." in listed
    assert "hum" in listed
    assert "whistle" in listed
    monkeypatch.delitem(sys.modules, "tunes_of_a_test")


def test_a_command_is_imported_when_it_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "song_of_a_test.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    app = typer.Typer()
    app.command()(lambda: None)
    add_command_later(app, "sing", "song_of_a_test:whistle", help_text="Sing a song.", panel="Noise")

    def said(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == code, result.output
        return result.output

    assert "Sing a song." in said("--help")
    assert "song_of_a_test" not in sys.modules
    assert "--times" in said("sing", "--help")
    assert said("sing", "--times", "2") == "fiufiu\n"
    assert said("sing") == "fiu\n"
    said("sing", "--loud", code=2)
    monkeypatch.delitem(sys.modules, "song_of_a_test")


@pytest.mark.parametrize(
    "name",
    [
        *("ddl", "diff", "explain", "export", "gc", "init", "publish", "report", "show", "task", "validate", "verify"),
        "retention",
        "quality",
        "consent",
        "why",
    ],
)
def test_a_command_that_is_made_later_is_announced_by_its_own_first_sentence(name: str) -> None:
    function = getattr(import_module(f"jobs.{name}"), name)
    announced = typer.main.get_group(tamis).commands[name].help
    assert announced == " ".join(str(function.__doc__).strip().split("\n\n")[0].split())
