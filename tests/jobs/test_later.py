from __future__ import annotations

import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from jobs.later import add_later

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
