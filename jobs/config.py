"""`tamis config`: the schema of the configuration file, and the effective values with their origin."""

from __future__ import annotations

import json
import sys

import typer

from jobs.console import clean, print_json, write
from jobs.options import DEFAULT_CONFIG, Address, AsJson, Assignments, ConfigFile, ExecutorName, Out
from jobs.session import Settings, load

config_app = typer.Typer()


@config_app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    from engine.config import Config

    described = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Config.model_json_schema()}
    write(sys.stdout, json.dumps(described, indent=2, ensure_ascii=True))


@config_app.command()
def show(
    *,
    config: ConfigFile = DEFAULT_CONFIG,
    out: Out = None,
    executor: ExecutorName = None,
    address: Address = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
) -> None:
    """Print every effective value and where it comes from."""
    from engine.config_file import config_hash
    from engine.toml_text import toml_value

    loaded = load(config, Settings(assignments or (), out, executor, address))
    if as_json:
        values = {key: {"value": value, "origin": loaded.origins[key]} for key, value in loaded.values.items()}
        print_json({"path": str(loaded.path), "hash": config_hash(loaded.config), "values": values})
        return
    shown = {
        key: f"# {key}: not set" if value is None else f"{key} = {toml_value(value)}"
        for key, value in loaded.values.items()
    }
    width = min(max(map(len, shown.values())), 60)
    for key, text in shown.items():
        write(sys.stdout, clean(f"{text.ljust(width)}  # {loaded.origins[key]}"))


@config_app.command()
def reference() -> None:
    """Print every key with its meaning and default, as Markdown."""
    from engine.config_reference import reference as markdown

    write(sys.stdout, markdown().rstrip())
