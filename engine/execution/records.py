"""What tasks take and return, as JSON: it is read back without running anything that stands in it.

A value is a number, a text, a truth value, null, a list (for a tuple), or an object with the kind of the value as its
first key. Frozen dataclasses, pydantic models, enums, errors and functions are named by module and name, and only those
of this package are taken; frames travel as Arrow IPC, arrays as `.npy` without pickles.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from collections.abc import Callable
from datetime import date, datetime, timedelta
from enum import Enum
from importlib import import_module
from io import BytesIO
from pathlib import Path
from types import FunctionType
from typing import Any, Final

import numpy as np
import polars as pl
from pydantic import BaseModel

from engine.errors import TamisError

PACKAGES: Final = ("engine",)
"""Packages whose classes and functions a record may name."""
_PLAIN: Final = (str, int, float, bool, type(None))
_LONGEST: Final = 80

Json = Any
Memo = dict[int, tuple[object, Json]]


class UnknownValueError(TypeError):
    """A value of a type that has no form in a record."""


def encode(value: object) -> Json:
    """The JSON form of a value.

    Raises:
        UnknownValueError: It holds a value of a type that has none.
    """
    return value if type(value) in _PLAIN else _encoded(value, encode)


def decode(plain: Json) -> Any:
    """The value that `encode` gave this form.

    Raises:
        ValueError: It is no such form, or names what this package does not have.
    """
    if not isinstance(plain, list | dict):
        return plain
    if isinstance(plain, list):
        return tuple(decode(item) for item in plain)
    kind = next(iter(plain), "")
    if kind not in _DECODERS:
        message = f"no kind of value: {kind!r}"
        raise ValueError(message)
    try:
        return _DECODERS[kind](plain[kind], plain)
    except (TypeError, LookupError, AttributeError, ImportError, OSError, pl.exceptions.PolarsError) as error:
        message = f"not a {kind}: {type(error).__name__}: {error}"
        raise ValueError(message) from error


def digest(value: object, memo: Memo) -> str:
    """SHA-256 (hex) of a value: equal for values with equal forms.

    Args:
        value: The value.
        memo: What was digested before: parts that several values share are looked at once. It keeps them alive; no
            value in it may change meanwhile.

    Raises:
        UnknownValueError: As `encode`.
    """
    return hashlib.sha256(_text(_part(value, memo)).encode()).hexdigest()


def name_of(thing: Any) -> str:
    """Module and name of a class or a top-level function, `engine.stages.scoring:score_bucket`.

    Raises:
        UnknownValueError: Its name does not lead to it.
    """
    module, name = str(thing.__module__), str(thing.__qualname__)
    if module.partition(".")[0] not in PACKAGES or "<" in name:
        message = f"{module}:{name} cannot be named in a record"
        raise UnknownValueError(message)
    return f"{module}:{name}"


def named(name: str) -> Any:
    """The class or function of a name that `name_of` gave.

    Raises:
        ValueError: There is none in this package.
    """
    module, _, path = name.partition(":")
    if module.partition(".")[0] not in PACKAGES:
        message = f"{name} is not of {', '.join(PACKAGES)}"
        raise ValueError(message)
    found: Any = import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    if getattr(found, "__module__", None) != module or getattr(found, "__qualname__", None) != path:
        message = f"{name} is not defined there"
        raise ValueError(message)
    return found


def _part(value: object, memo: Memo) -> Json:
    if type(value) in _PLAIN:
        return value
    known = memo.get(id(value))
    if known is None:
        text = _text(_encoded(value, lambda item: _part(item, memo)))
        short = text if len(text) <= _LONGEST else hashlib.sha256(text.encode()).hexdigest()
        known = memo[id(value)] = (value, {"part": short})
    return known[1]


def _text(plain: Json) -> str:
    return json.dumps(plain, separators=(",", ":"))


# ------------------------------------------------------------------------------------------------------------ encoding


def _encoded(value: Any, inner: Callable[[object], Json]) -> Json:
    kind = type(value)
    if kind is tuple:
        return [inner(item) for item in value]
    if kind in _ENCODERS:
        return _ENCODERS[kind](value, inner)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        held = {field.name: inner(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"data": name_of(kind), "fields": held}
    for parent, encoder in _FAMILIES:
        if isinstance(value, parent):
            return encoder(value, inner)
    message = f"a value of type {kind.__module__}.{kind.__qualname__} has no form in a record"
    raise UnknownValueError(message)


def _set(name: str) -> Callable[[Any, Callable[[object], Json]], Json]:
    # The order of a set is no part of it.
    return lambda value, inner: {name: sorted((inner(item) for item in value), key=_text)}


def _model(value: BaseModel, inner: Callable[[object], Json]) -> Json:
    if value.__pydantic_extra__ or value.__pydantic_private__:
        message = f"{type(value).__qualname__} holds more than its fields"
        raise UnknownValueError(message)
    held = {name: inner(item) for name, item in value.__dict__.items()}
    return {"model": name_of(type(value)), "fields": held, "given": sorted(value.__pydantic_fields_set__)}


def _frame(frame: pl.DataFrame) -> str:
    if pl.Object in frame.dtypes:
        message = "a frame of Python objects has no form in a record"
        raise UnknownValueError(message)
    content = BytesIO()
    frame.write_ipc(content)
    return _base64(content.getvalue())


def _values(array: Any, inner: Callable[[object], Json]) -> Json:
    # Whole numbers that no machine has a type for are objects.
    if array.dtype == object:
        return {"objects": list(array.shape), "of": [inner(item) for item in array.ravel().tolist()]}
    return {"array": _array(array)}


def _array(array: Any) -> str:
    if array.dtype.hasobject:
        message = "an array of Python objects and others has no form in a record"
        raise UnknownValueError(message)
    content = BytesIO()
    np.save(content, array, allow_pickle=False)
    return _base64(content.getvalue())


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _of_dtype(dtype: Any) -> Json:
    return {"dtype": _frame(pl.DataFrame(schema={"": dtype}))}


_ENCODERS: Final[dict[type, Callable[[Any, Callable[[object], Json]], Json]]] = {
    list: lambda value, inner: {"list": [inner(item) for item in value]},
    dict: lambda value, inner: {"dict": [[inner(key), inner(item)] for key, item in value.items()]},
    set: _set("set"),
    frozenset: _set("frozenset"),
    date: lambda value, _: {"date": value.isoformat()},
    timedelta: lambda value, _: {"timedelta": [value.days, value.seconds, value.microseconds]},
    bytes: lambda value, _: {"bytes": _base64(value)},
    pl.DataFrame: lambda value, _: {"frame": _frame(value)},
    pl.Series: lambda value, _: {"series": _frame(value.to_frame())},
    pl.Schema: lambda value, _: {"schema": _frame(pl.DataFrame(schema=value))},
    FunctionType: lambda value, _: {"function": name_of(value)},
    np.ndarray: _values,
}


def _datetime(value: datetime, _: Callable[[object], Json]) -> Json:
    if value.tzinfo is not None:
        message = "a moment with a time zone has no form in a record"
        raise UnknownValueError(message)
    return {"datetime": value.isoformat()}


_FAMILIES: Final[tuple[tuple[Any, Callable[[Any, Callable[[object], Json]], Json]], ...]] = (
    (BaseModel, _model),
    (Enum, lambda value, _: {"enum": name_of(type(value)), "name": value.name}),
    (Path, lambda value, _: {"path": str(value)}),
    (np.generic, lambda value, _: {"number": _array(np.asarray(value))}),
    (pl.DataType, lambda value, _: _of_dtype(value)),
    (datetime, _datetime),
    (
        TamisError,
        lambda value, _: {"error": name_of(type(value)), "of": [value.message, value.code, value.hint]},
    ),
    (pl.datatypes.DataTypeClass, lambda value, _: _of_dtype(value)),
)


# ------------------------------------------------------------------------------------------------------------ decoding


def _read_frame(text: str) -> pl.DataFrame:
    return pl.read_ipc(BytesIO(base64.b64decode(text, validate=True)))


def _read_array(text: str) -> Any:
    return np.load(BytesIO(base64.b64decode(text, validate=True)), allow_pickle=False)


def _read_objects(shape: list[int], plain: dict[str, Json]) -> Any:
    flat = np.empty(len(plain["of"]), dtype=object)
    for place, item in enumerate(plain["of"]):
        flat[place] = decode(item)
    return flat.reshape(shape)


def _class(name: str, parent: type | None) -> Any:
    found = named(name)
    fits = dataclasses.is_dataclass(found) if parent is None else isinstance(found, type) and issubclass(found, parent)
    if not fits or not isinstance(found, type):
        message = f"{name} is no class for this"
        raise ValueError(message)
    return found


def _read_data(name: str, plain: dict[str, Json]) -> Any:
    kind = _class(name, None)
    fields = dataclasses.fields(kind)
    held = {key: decode(item) for key, item in plain["fields"].items()}
    if {field.name for field in fields} != held.keys():
        message = f"{name} has other fields now"
        raise ValueError(message)
    value = kind(**{field.name: held[field.name] for field in fields if field.init})
    for field in fields:
        if not field.init:
            object.__setattr__(value, field.name, held[field.name])
    return value


def _read_model(name: str, plain: dict[str, Json]) -> Any:
    kind = _class(name, BaseModel)
    held = {key: decode(item) for key, item in plain["fields"].items()}
    if kind.model_fields.keys() != held.keys():
        message = f"{name} has other fields now"
        raise ValueError(message)
    # Its values passed their checks before; some checks take less than what they give.
    return kind.model_construct(_fields_set=set(plain["given"]), **held)


def _read_function(name: str) -> Any:
    found = named(name)
    if not isinstance(found, FunctionType):
        message = f"{name} is no function"
        raise ValueError(message)  # noqa: TRY004 - what was read is wrong, not the program
    return found


_DECODERS: Final[dict[str, Callable[[Any, dict[str, Json]], Any]]] = {
    "list": lambda items, _: [decode(item) for item in items],
    "dict": lambda items, _: {decode(key): decode(item) for key, item in items},
    "set": lambda items, _: {decode(item) for item in items},
    "frozenset": lambda items, _: frozenset(decode(item) for item in items),
    "date": lambda text, _: date.fromisoformat(text),
    "datetime": lambda text, _: datetime.fromisoformat(text),
    "timedelta": lambda parts, _: timedelta(*parts),
    "bytes": lambda text, _: base64.b64decode(text, validate=True),
    "path": lambda text, _: Path(text),
    "frame": lambda text, _: _read_frame(text),
    "series": lambda text, _: _read_frame(text).to_series(),
    "schema": lambda text, _: _read_frame(text).schema,
    "dtype": lambda text, _: _read_frame(text).schema[""],
    "array": lambda text, _: _read_array(text),
    "objects": _read_objects,
    "number": lambda text, _: _read_array(text)[()],
    "function": lambda name, _: _read_function(name),
    "enum": lambda name, plain: _class(name, Enum)[plain["name"]],
    "error": lambda name, plain: _class(name, TamisError)(plain["of"][0], code=plain["of"][1], hint=plain["of"][2]),
    "data": _read_data,
    "model": _read_model,
}
