"""What may stand in a record, a log line or a message to others: no value of a user, no secret."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from engine.config import Config

MASK: Final = "…"
_LONGEST: Final = 500
_QUOTED: Final = re.compile(r"'([^'\n]*)'|\"([^\"\n]*)\"")
_ADDRESS: Final = re.compile(r"[^\s<>()'\"=,;/]+@[^\s<>()'\"=,;/]+\.[^\s<>()'\"=,;/]+")
# A count has separators or few digits; a number in a path or a hash is part of a name.
_LONG_NUMBER: Final = re.compile(r"(?<![\w/.,:-])\d{7,}(?![\w/-])")
_PASSWORD: Final = re.compile(r"(?<=://)[^/\s@]+@")
_SECRET: Final = re.compile(r"password|secret|token|credential|catalog|notify_command|(^|[._])key$", re.IGNORECASE)
_PERSONAL: Final = ("exclude",)


def clean_message(message: str, known: Iterable[str] = ()) -> str:
    """The headline of an error, without values of the data.

    The lines below it name files, columns, and in some cases ids that a list holds. Quoted text is from the
    configuration, and stays, or from the data, and is masked; so are addresses and long numbers.

    Args:
        message: One or more lines.
        known: Texts that may stand: those of the configuration.
    """
    words = frozenset(known)

    def masked(quoted: re.Match[str]) -> str:
        text = quoted[1] if quoted[1] is not None else quoted[2]
        return quoted[0] if text in words or text.startswith("/") else f"'{MASK}'"

    headline = message.strip().partition("\n")[0]
    headline = _QUOTED.sub(masked, headline)
    return _LONG_NUMBER.sub(MASK, _ADDRESS.sub(MASK, headline))[:_LONGEST]


def known_texts(config: Config) -> frozenset[str]:
    """Every text that the configuration holds, but those that name users."""
    return frozenset(_texts(config.model_dump(mode="json", exclude=set(_PERSONAL))))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def clean_overrides(overrides: Iterable[tuple[str, object]]) -> dict[str, Any]:
    """Overrides as they may be kept: the last one of each key, secrets and users masked."""
    return {key: _clean_value(key, value) for key, value in overrides}


def _clean_value(key: str, value: object) -> Any:
    if _SECRET.search(key) or key.partition(".")[0] in _PERSONAL:
        return MASK
    if isinstance(value, Mapping):
        return {str(name): _clean_value(f"{key}.{name}", inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean_value(key, inner) for inner in value]
    if isinstance(value, bool | int | float) or value is None:
        return value
    return _PASSWORD.sub(f"{MASK}@", str(value))
