"""The reference of the configuration file: every key, what it may hold, its default and its meaning, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, get_args, get_origin

from pydantic_core import PydanticUndefined

from engine.config import Config, Param, Section, Sql, Value
from engine.config_keys import choices, describe
from engine.toml_text import toml_value

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

_INTRODUCTION = """# Configuration

One TOML file, `tamis.toml` unless `-c FILE` names another. A value on the command line
(`--set targets.coupon.horizon_days=14`, or an option of its own) comes before the file, the file before the default.
Relative paths are relative to the folder of the file, those on the command line to the working directory.
`tamis config show` prints every effective value with its origin, `tamis config schema` a JSON Schema for editors. This
page is the output of `tamis config reference`.
"""

_SIGNS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


def reference() -> str:
    """The whole reference, one table per section in the order of the model."""
    return "\n".join([_INTRODUCTION, *_section("", Config)])


def _section(title: str, model: type[Section]) -> Iterator[str]:
    inner: list[tuple[str, type[Section]]] = []
    if title:
        yield f"## `{title}`\n"
        yield f"{' '.join((model.__doc__ or '').split())}\n"
    yield "| key | holds | default | meaning |"
    yield "|---|---|---|---|"
    for name, field in model.model_fields.items():
        below = _table_of(field)
        if below is None:
            cells = (
                f"`{name}`",
                describe(field.annotation) + _limits(field),
                _default(field),
                " ".join((field.description or "").split()),
            )
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
        else:
            key = f"{title.strip('[]')}.{name}" if title else name
            inner.append((f"[[{key}]]" if _is_array(field) else f"[{key}]", below))
    yield ""
    for key, below in inner:
        yield from _section(key, below)


def _table_of(field: FieldInfo) -> type[Section] | None:
    """The section that a key opens, when it opens one."""
    (only, *others) = choices(field.annotation)
    item = get_args(only)[0] if get_origin(only) is tuple else only
    if others or not isinstance(item, type) or not issubclass(item, Section) or item in (Param, Sql, Value):
        return None
    return item


def _is_array(field: FieldInfo) -> bool:
    return get_origin(choices(field.annotation)[0]) is tuple


def _limits(field: FieldInfo) -> str:
    rules = ((sign, getattr(rule, name, None)) for rule in field.metadata for name, sign in _SIGNS.items())
    return "".join(f", {sign} {limit:,}" for sign, limit in rules if limit is not None)


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    return "" if field.default is None else f"`{toml_value(field.default)}`"
