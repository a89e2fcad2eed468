"""What the model finds wrong in a configuration, said so that its author can mend it."""

from __future__ import annotations

import json
import zoneinfo
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from engine.config import Config
from engine.config_keys import choices, describe, key_names, key_type
from engine.suggest import did_you_mean
from engine.toml_text import KeyPath

if TYPE_CHECKING:
    from pydantic import ValidationError

_ZONE_FIELDS = frozenset({"timezone"})


@dataclass(frozen=True)
class Problem:
    """One mistake: where it is and what is wrong with it."""

    path: KeyPath
    text: str


def problems_of(error: ValidationError) -> list[Problem]:
    """One problem per key, in the order of the model, from everything a validation found."""
    found: dict[KeyPath, str] = {}
    details = error.errors(include_url=False)
    for detail in details:
        path = _real_path(detail["loc"])
        if detail["type"] == "too_short" and any(len(other["loc"]) > len(path) for other in _below(details, path)):
            continue  # Entries that are wrong themselves are not counted; their own problems say more.
        found.setdefault(path, _explain(path, detail))
    return [Problem(path, text) for path, text in found.items()]


def _below(details: Sequence[Any], path: KeyPath) -> list[Any]:
    return [detail for detail in details if detail["loc"][: len(path)] == path]


def _real_path(location: Sequence[str | int]) -> KeyPath:
    """The part of a location that is keys of the file; behind it stand the names of the alternatives of a type."""
    path: KeyPath = ()
    for part in location:
        if part == "[key]" or len(choices(key_type(Config, path))) > 1:
            break
        path = (*path, part)
    return path


def _explain(path: KeyPath, detail: Mapping[str, Any]) -> str:
    annotation = key_type(Config, path)
    kind = detail["type"]
    if kind == "extra_forbidden":
        names = key_names(Config, path[:-1])
        return f"unknown key{did_you_mean(str(path[-1]), names) or _known(names)}"
    if kind == "missing":
        return f"missing; expected {describe(annotation)}"
    if kind == "value_error":
        return _own_words(path, detail)
    if kind == "too_short":
        return "expected at least one entry"
    several = len(choices(annotation)) > 1
    expected = describe(annotation) if several else describe(annotation) + _bounds(kind, detail.get("ctx", {}))
    return f"expected {expected}, got {_shown(detail['input'])}{_nearest_choice(annotation, detail['input'])}"


def _known(names: Sequence[str]) -> str:
    return f" (known: {', '.join(names)})" if names else ""


def _own_words(path: KeyPath, detail: Mapping[str, Any]) -> str:
    text = str(detail["ctx"]["error"])
    if path and path[-1] in _ZONE_FIELDS:
        return f"expected {text}{did_you_mean(str(detail['input']), zoneinfo.available_timezones())}"
    return text


_BOUNDS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "greater_than_equal": lambda limits: f" of at least {limits['ge']:,.15g}",
    "greater_than": lambda limits: f" above {limits['gt']:,.15g}",
    "less_than_equal": lambda limits: f" of at most {limits['le']:,.15g}",
    "less_than": lambda limits: f" below {limits['lt']:,.15g}",
    "string_too_short": lambda limits: " that is not empty",
    "string_too_long": lambda limits: f" of at most {limits['max_length']} characters",
    "string_pattern_mismatch": lambda limits: " of letters a-z, digits and '_' that begins with a letter",
    "finite_number": lambda limits: " that is finite",
}


def _bounds(kind: str, limits: Mapping[str, Any]) -> str:
    bound = _BOUNDS.get(kind)
    return "" if bound is None else bound(limits)


def _nearest_choice(annotation: Any, value: object) -> str:
    allowed = [name for choice in choices(annotation) if get_origin(choice) is Literal for name in get_args(choice)]
    return did_you_mean(value, allowed) if isinstance(value, str) else ""


def _shown(value: object) -> str:
    if isinstance(value, str):
        return repr(value)
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"
