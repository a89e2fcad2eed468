"""Presets of sources: a file of known layout gives what the user's own file does not say.

`configs/sources/NAME.toml` has one table `[source]` with keys of `[[sources]]`, and may have a table `[events]` with
the roles that the event types of this layout play.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from engine.config_problems import Problem
from engine.shipped import shipped_configs
from engine.suggest import did_you_mean
from engine.toml_text import KeyPath

_OFF = ""


def preset_names() -> tuple[str, ...]:
    """The presets there are, in alphabetical order."""
    return tuple(sorted(file.stem for file in _folder().glob("*.toml")))


def apply_presets(raw: dict[str, Any], origins: dict[KeyPath, str]) -> list[Problem]:
    """Fill the tables of a configuration from the presets its sources name; keys of the user's own win.

    A key that the user sets to `""` is neither his nor the preset's. Of the roles only those are taken whose event type
    is listed in `events.types`, where there is such a list.

    Args:
        raw: The tables as they were read; changed in place.
        origins: Where each value comes from; what is filled in gets `preset NAME`.

    Returns:
        Presets that do not exist.
    """
    problems = []
    listed = raw.get("sources")
    sources = listed if isinstance(listed, list) else []
    for index, source in enumerate(sources):
        if not isinstance(source, dict) or not isinstance(name := source.get("preset"), str):
            continue
        if name not in preset_names():
            known = did_you_mean(name, preset_names()) or f" (there are: {', '.join(preset_names())})"
            problems.append(Problem(("sources", index, "preset"), f"no preset {name!r}{known}"))
            continue
        preset, origin = _read(name), f"preset {name}"
        origins.update(_fill(source, preset["source"], ("sources", index), origin))
        events = raw.setdefault("events", {})
        if isinstance(events, dict):
            types = events.get("types")
            roles = {role: type_ for role, type_ in preset.get("events", {}).items() if not types or type_ in types}
            filled = dict(_fill(events, roles, ("events",), origin))
            # The user asked for none of them: a log without complaints is as good as one with some.
            optional = events.setdefault("optional", [])
            if isinstance(optional, list) and filled:
                optional += [path[-1] for path in filled if path[-1] not in optional]
                origins.setdefault(("events", "optional"), origin)
            origins.update(filled)
    with_preset = [source for source in sources if isinstance(source, dict) and "preset" in source]
    _drop_switched_off(with_preset)
    _drop_switched_off([source.get("columns") for source in with_preset])
    _drop_switched_off([raw.get("events")] if with_preset else [])
    return problems


def _fill(own: dict[str, Any], preset: dict[str, Any], at: KeyPath, origin: str) -> Iterator[tuple[KeyPath, str]]:
    for key, value in preset.items():
        if key not in own:
            own[key] = value
            yield (*at, key), origin
        elif key == "columns" and isinstance(own[key], dict):
            yield from _fill(own[key], value, (*at, key), origin)


def _drop_switched_off(tables: Iterable[Any]) -> None:
    """Take out the keys set to "" where a preset could have filled them."""
    for table in tables:
        if isinstance(table, dict):
            for key in [key for key, value in table.items() if value == _OFF]:
                del table[key]


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((_folder() / f"{name}.toml").read_text(encoding="utf-8"))


def _folder() -> Path:
    return shipped_configs() / "sources"
