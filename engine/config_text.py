"""An effective configuration as TOML again: what a job takes along that runs where the file is not."""

from __future__ import annotations

from collections.abc import Mapping

from engine.config import Config
from engine.toml_text import toml_key, toml_value


def config_text(config: Config) -> str:
    """TOML that loads as `config` from any folder: every value stands in it, and local paths are absolute.

    One line per key of the top level. Values that are optional and not set are left out, as TOML has no null.
    """
    values = config.model_dump(mode="json")
    lines = [f"{toml_key(key)} = {toml_value(_set(value))}" for key, value in values.items() if value is not None]
    return "\n".join(lines) + "\n"


def _set(value: object) -> object:
    """`value` without the entries of tables that are not set."""
    match value:
        case Mapping():
            return {key: _set(item) for key, item in value.items() if item is not None}
        case list():
            return [_set(item) for item in value]
    return value
