"""The keys of the configuration, read off the model: what each may hold, and the values they have."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from engine.config import Param, Section, Sql, Value
from engine.toml_text import KeyPath


def key_type(model: type[Section], path: KeyPath) -> Any:
    """The annotation of the value at `path`, or `None` when there is no such key.

    Entries of arrays may be given by index or by name.
    """
    annotation: Any = model
    for part in path:
        annotation = _inside(annotation, part)
        if annotation is None:
            return None
    return annotation


def key_names(model: type[Section], path: KeyPath) -> tuple[str, ...]:
    """The keys a table at `path` may hold; none when it is no table or holds free names."""
    annotation = _plain(key_type(model, path))
    return tuple(annotation.model_fields) if _is_section(annotation) else ()


def choices(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of an annotation, without `None`: `(str, Sql)` for `str | Sql | None`."""
    annotation = _bare(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(_bare(choice) for choice in get_args(annotation) if choice is not type(None))
    return (annotation,)


def describe(annotation: Any) -> str:
    """What a value of this type looks like in TOML, in words: `a whole number`."""
    return " or ".join(dict.fromkeys(_describe_one(choice) for choice in choices(annotation)))


def leaves(section: BaseModel, path: KeyPath = ()) -> Iterator[tuple[KeyPath, object]]:
    """Each effective value of a configuration with its path, in the order of the model.

    Tables and arrays of tables are opened; a column (`{ sql = … }`) and a list of plain values are one value.
    """
    for name in type(section).model_fields:
        yield from _leaves_of(getattr(section, name), (*path, name))


def _leaves_of(value: object, path: KeyPath) -> Iterator[tuple[KeyPath, object]]:
    match value:
        case Param() | Sql() | Value():
            yield path, value.model_dump()
        case BaseModel():
            yield from leaves(value, path)
        case tuple() if value and isinstance(value[0], BaseModel):
            for index, item in enumerate(value):
                yield from _leaves_of(item, (*path, index))
        case dict() if value:
            for key, item in value.items():
                yield (*path, key), item
        case tuple():
            yield path, list(value)
        case _:
            yield path, value


def _inside(annotation: Any, part: str | int) -> Any:
    annotation = _plain(annotation)
    if _is_section(annotation):
        field = annotation.model_fields.get(part)
        return None if field is None else field.annotation
    if get_origin(annotation) is tuple:
        return get_args(annotation)[0]
    if get_origin(annotation) is dict:
        return get_args(annotation)[1]
    return None


def _plain(annotation: Any) -> Any:
    """The only alternative of an annotation, or the annotation itself when there are several."""
    alternatives = choices(annotation)
    return alternatives[0] if len(alternatives) == 1 else annotation


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


_WORDS: dict[Any, str] = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    Sql: '{ sql = "…" }',
    Value: "{ value = … }",
    Param: '{ param = "…" }',
}


def _describe_one(annotation: Any) -> str:
    if annotation in _WORDS:
        return _WORDS[annotation]
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(repr(choice) for choice in get_args(annotation))
    if get_origin(annotation) is tuple:
        item = _plain(get_args(annotation)[0])
        return "tables ([[…]])" if _is_section(item) else f"a list of {_plural(describe(item))}"
    return "a table"


def _plural(words: str) -> str:
    return {"text": "texts", "a whole number": "whole numbers"}.get(words, words)
