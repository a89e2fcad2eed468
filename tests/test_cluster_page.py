from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from engine.errors import ExitCode
from jobs.app import app

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
LINES = [line for block in BLOCKS for line in block.splitlines()]
OURS = [line for line in LINES if line.startswith("tamis ")]
RAYS = [line for line in LINES if line.startswith("ray ")]


@pytest.mark.parametrize("line", OURS)
def test_commands_and_options_exist(line: str) -> None:
    name, *arguments = shlex.split(line)[1:]
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    # Reads the arguments, and calls nothing.
    context = command.make_context(name, list(arguments))
    assert context.params


@pytest.mark.parametrize("line", RAYS)
def test_commands_of_ray_exist(line: str) -> None:
    from ray.scripts.scripts import cli

    name, *arguments = shlex.split(line)[1:]
    known = {option for parameter in cli.commands[name].params for option in parameter.opts}
    assert [word for word in arguments if word.startswith("--") and word not in known] == []


def test_files_exist() -> None:
    named = re.findall(r"configs/[\w./-]+|docs/[\w./-]+\.md", PAGE)
    assert len(named) > 5
    assert [name for name in named if not (ROOT / name.rstrip(".")).exists()] == []
    listed = set(re.findall(r"`([\w-]+\.(?:yaml|py|toml)|Dockerfile)`", PAGE))
    there = {file.name for file in (ROOT / "configs" / "kubernetes").iterdir() if file.is_file()}
    assert there - listed == set()


def test_exit_codes_exist() -> None:
    table = PAGE[PAGE.index("| exit code |") :]
    codes = [int(code) for row in re.findall(r"^\| ([\d, ]+) \|", table, flags=re.MULTILINE) for code in row.split(",")]
    assert sorted(codes) == [0, 1, 2, 3, 4, 5, 6, 7, 75, 143]
    assert set(codes) <= {int(code) for code in ExitCode}
