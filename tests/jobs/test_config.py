from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from engine.config import Config

Tamis = Callable[..., Result]


def test_schema_is_that_of_the_model(tamis: Tamis) -> None:
    schema = json.loads(tamis("config", "schema").stdout)
    assert schema.pop("$schema") == "https://json-schema.org/draft/2020-12/schema"
    assert schema == Config.model_json_schema()
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "seed = 1  # default"),
        (("--set", "seed=0"), "seed = 0  # command line"),
        ((), 'sources.shop.columns.user_id = "customer"  # tamis.toml:5'),
        ((), "# sources.shop.where: not set  # default"),
        (("--executor", "ray"), 'execution.executor = "ray"  # command line'),
        (("--set", "execution.executor=ray", "--executor", "local"), 'execution.executor = "local"  # command line'),
        (("--out", ""), None),
    ],
)
def test_show(tamis: Tamis, folder: Path, arguments: tuple[str, ...], line: str | None) -> None:
    result = tamis("config", "show", *arguments)
    assert (result.exit_code == 0) == (line is not None)
    shown = [" ".join(text.replace("  #", " #").split()) for text in result.stdout.splitlines()]
    assert (line is None and shown == []) or " ".join((line or "").split()) in shown


def test_show_is_toml(tamis: Tamis, folder: Path) -> None:
    shown = tomllib.loads(tamis("config", "show").stdout)
    assert shown["out"] == str(folder / "out")
    assert shown["sources"]["shop"]["columns"]["event_type"] == {"value": "purchase"}


def test_show_as_json(tamis: Tamis, folder: Path) -> None:
    shown = json.loads(tamis("config", "show", "--json").stdout)
    assert shown["path"] == "tamis.toml"
    assert len(shown["hash"]) == 64
    assert shown["values"]["sources.shop.name"] == {"value": "shop", "origin": "tamis.toml:2"}


def test_reference_is_the_page(tamis: Tamis) -> None:
    page = Path(__file__).parents[2] / "docs" / "configuration.md"
    assert tamis("config", "reference").stdout == page.read_text(encoding="utf-8")
