"""Read the configuration: command line over file over default, all mistakes at once, and the origin of each value."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from engine.config import Config
from engine.config_keys import choices, key_type, leaves
from engine.config_presets import apply_presets
from engine.config_problems import Problem, problems_of
from engine.errors import ConfigError
from engine.propensity.presets import FILLED
from engine.remote.output import with_local_state
from engine.suggest import did_you_mean
from engine.toml_text import KeyPath, dotted, key_lines, split_dotted

COMMAND_LINE = "command line"
DEFAULT = "default"

_PATH_KEYS = (
    ("out",),
    ("sources", "*", "path"),
    ("contacts", "path"),
    ("contacts", "cleaning", "role_names"),
    ("contacts", "cleaning", "disposable_domains"),
    ("contacts", "enrich", "*", "path"),
    ("consent", "path"),
    ("privacy", "key_file"),
    ("privacy", "opposed"),
    ("identity", "path"),
    ("segments", "*", "list"),
    ("publish", "url"),
    ("publish", "state"),
    ("exports", "suppress"),
    ("watch", "log_file"),
    ("watch", "metrics_file"),
    ("schedule", "marker"),
)
_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")

Overrides = Mapping[str, object] | Sequence[tuple[str, object]]


@dataclass(frozen=True)
class LoadedConfig:
    """A valid configuration, with the origin of each effective value.

    `origins` has one entry per dotted key, in the order of the model: `command line`, `FILE:LINE`, `preset NAME` or
    `default`. Entries of arrays appear under their name (`targets.coupon.horizon_days`).
    """

    config: Config
    origins: dict[str, str]
    values: dict[str, object]
    """The effective values under the same keys; `None` where a value is optional and not set."""
    path: Path


def load_config(path: Path, *, overrides: Overrides = ()) -> LoadedConfig:
    """The configuration in a TOML file, with single values replaced.

    Relative paths are resolved against the folder of the file; those in `overrides` against the working directory.

    Args:
        path: The TOML file.
        overrides: Values by dotted key, the last one wins. Entries of arrays are named by index or by their `name`.

    Raises:
        ConfigError: No file, no TOML, or any number of wrong keys and values, all of them in one message.
    """
    text = _read(path)
    raw = _parse(path, text)
    origins: dict[KeyPath, str] = {at: f"{path}:{line}" for at, line in key_lines(text).items()}
    pairs = overrides.items() if isinstance(overrides, Mapping) else overrides
    problems = [problem for key, value in pairs if (problem := _override(raw, origins, key, value)) is not None]
    problems += apply_presets(raw, origins)
    text_of_values = json.dumps(_resolve_paths(raw, origins, path), default=str)
    config: Config | None = None
    try:
        config = Config.model_validate_json(text_of_values, strict=True)
    except ValidationError as error:
        problems.extend(problems_of(error))
    if problems or config is None:
        raise _refusal(path, raw, origins, problems)
    found = list(leaves(config))
    return LoadedConfig(
        config=config,
        origins={_named(raw, at): _origin(raw, origins, at) for at, _ in found},
        values={_named(raw, at): value for at, value in found},
        path=path,
    )


def parse_assignments(texts: Iterable[str]) -> list[tuple[str, object]]:
    """Overrides from `section.key=value` texts.

    A value is read as TOML where that gives what the key holds, and is taken as it stands otherwise, so that text needs
    no quotes: `timezone=Europe/Paris`, `features.windows=[7, 30]`, `clusters.enabled=false`.

    Raises:
        ConfigError: Texts without `=` or without a key, all of them at once.
    """
    pairs = [(text, *text.partition("=")) for text in texts]
    malformed = [text for text, key, sign, _ in pairs if not sign or not key.strip()]
    if malformed:
        raise ConfigError(
            f"--set expects KEY=VALUE, got {', '.join(repr(text) for text in malformed)}",
            code="config-assignment",
            hint="For example: --set targets.coupon.horizon_days=14",
        )
    return [(key.strip(), _literal(split_dotted(key.strip()), value.strip())) for _, key, _, value in pairs]


_TOLD: Final = ("keep_register", "controller", "officer", "legal_basis", "transfers", "recipients", "readable_by")
"""Keys of `[privacy]` that change no table."""


def config_hash(config: Config) -> str:
    """sha256 of what in a configuration can change a number or the layout of the files, as canonical JSON.

    Left out are the output folder, when `run` fits again, exports, reports, retention, what a record of processing is
    told, and how and when the work is executed; `execution.rows_per_task` stays, for it decides the number of buckets.
    Input paths count as they stand in `config`.
    """
    left_out = {"out", "refit_after_days", "publish", "exports", "report", "schedule", "watch", "retention"}
    settings = config.model_dump(mode="json", exclude=left_out)
    for name in _TOLD:
        del settings["privacy"][name]
    settings["execution"] = {"rows_per_task": config.execution.rows_per_task}
    canonical = json.dumps(settings, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except FileNotFoundError as error:
        raise ConfigError(
            f"no configuration file {str(path)!r}",
            code="config-not-found",
            hint="Name one with -c FILE, or write one with: tamis init 'events/*.parquet'",
        ) from error
    except OSError as error:
        raise ConfigError(
            f"the configuration file {str(path)!r} cannot be read: {error.strerror}",
            code="config-unreadable",
            hint="Name a readable TOML file with -c FILE.",
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: expected UTF-8 text, got the byte 0x{error.object[error.start]:02x} at position {error.start}",
            code="config-not-toml",
            hint="Save the file as UTF-8.",
        ) from error


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{path}: not valid TOML: {error}",
            code="config-not-toml",
            hint=_hint_of(text, error),
        ) from error


def _hint_of(text: str, error: tomllib.TOMLDecodeError) -> str:
    """How the line that cannot be read is written; rules have quotes within quotes."""
    number = re.search(r"at line (\d+)", str(error))
    lines = text.splitlines()
    line = lines[int(number[1]) - 1] if number and int(number[1]) <= len(lines) else ""
    if re.match(r"\s*(where|value|population)\s*=", line):
        return (
            "A rule stands in double quotes, text and types of events within it in single quotes: "
            'where = "region = \'Bretagne\'". A rule of several lines stands between """ and """.'
        )
    return 'Text needs quotes (name = "value"), and each key stands once per table.'


def _literal(path: KeyPath, text: str) -> object:
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        return text
    accepted = choices(key_type(Config, path))
    if str in accepted and not isinstance(value, str | list | dict):
        return text
    return value


def _override(raw: dict[str, Any], origins: dict[KeyPath, str], key: str, value: object) -> Problem | None:
    """Put one value into the tables of the file; the problem when its place does not exist."""
    parts = split_dotted(key)
    container: Any = raw
    at: KeyPath = ()
    for part in parts:
        last = len(at) == len(parts) - 1
        if isinstance(container, list):
            index = _entry(container, part)
            if index is None:
                origins[(*at, part)] = COMMAND_LINE
                return Problem((*at, part), f"no such entry{_entry_names(container, part)}")
            at = (*at, index)
        elif isinstance(container, dict):
            at = (*at, part)
            if not last and part not in container:
                container[part] = {}
                origins[at] = COMMAND_LINE
        else:
            origins[(*at, part)] = COMMAND_LINE
            return Problem((*at, part), f"{dotted(at)} is no table but {container!r}")
        if last:
            container[at[-1]] = value
        else:
            container = container[at[-1]]
    for stale in [other for other in origins if other[: len(at)] == at]:
        del origins[stale]
    origins[at] = COMMAND_LINE
    return None


def _entry(entries: list[Any], part: str) -> int | None:
    for index, entry in enumerate(entries):
        if isinstance(entry, dict) and entry.get("name") == part:
            return index
    return int(part) if part.isascii() and part.isdigit() and int(part) < len(entries) else None


def _entry_names(entries: list[Any], part: str) -> str:
    names = [str(entry["name"]) for entry in entries if isinstance(entry, dict) and "name" in entry]
    return did_you_mean(part, names) or f" (there are: {', '.join(names) or len(entries)})"


def _resolve_paths(raw: dict[str, Any], origins: dict[KeyPath, str], path: Path) -> dict[str, Any]:
    """The tables with relative paths made absolute."""
    folder = path.absolute().parent
    with_out: dict[str, Any] = {"out": Config.model_fields["out"].default, **raw}

    def resolve(value: Any, at: KeyPath) -> Any:
        if isinstance(value, dict):
            return {key: resolve(item, (*at, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [resolve(item, (*at, index)) for index, item in enumerate(value)]
        if isinstance(value, str) and value and _is_path(at):
            base = Path.cwd() if _nearest(origins, at) == COMMAND_LINE else folder
            return _absolute(base, value)
        return value

    return with_local_state({key: resolve(value, (key,)) for key, value in with_out.items()}, folder)


def _is_path(at: KeyPath) -> bool:
    key = tuple("*" if isinstance(part, int) else part for part in at)
    return any(key in (pattern, (*pattern, "*")) for pattern in _PATH_KEYS)


def _absolute(base: Path, value: str) -> str:
    if _REMOTE.match(value):
        return value
    joined = base / value
    return str(joined.resolve() if ".." in joined.parts else joined)


def _nearest(origins: Mapping[KeyPath, str], at: KeyPath) -> str:
    """Origin of the value at `at`, or of the closest table around it that is written anywhere."""
    return next((origins[at[:length]] for length in range(len(at), -1, -1) if at[:length] in origins), "")


def _origin(raw: Mapping[str, Any], origins: Mapping[KeyPath, str], at: KeyPath) -> str:
    value: Any = raw
    for part in at:
        try:
            value = value[part]
        except (KeyError, IndexError):
            given = at[0] == "targets" and part in FILLED and "preset" in value
            return f"preset {value['preset']}" if given else DEFAULT
    return _nearest(origins, at)


def _named(raw: Mapping[str, Any], at: KeyPath) -> str:
    """The dotted key of a value, with entries of arrays under their name where they have one of their own."""
    parts: list[str | int] = []
    value: Any = raw
    for part in at:
        inner: Any = None
        shown = part
        if isinstance(value, list) and isinstance(part, int) and part < len(value):
            inner = value[part]
            name = inner.get("name") if isinstance(inner, dict) else None
            same = [entry for entry in value if isinstance(entry, dict) and entry.get("name") == name]
            shown = name if isinstance(name, str) and len(same) == 1 else part
        elif isinstance(value, dict):
            inner = value.get(str(part))
        parts.append(shown)
        value = inner
    return dotted(parts)


def _refusal(
    path: Path, raw: dict[str, Any], origins: Mapping[KeyPath, str], problems: Sequence[Problem]
) -> ConfigError:
    located: list[tuple[int, str]] = []
    for problem in problems:
        origin = _nearest(origins, problem.path)
        line = int(number) if (number := origin.removeprefix(f"{path}:")).isdigit() else 0
        where = f"line {line}: " if line else f"{origin}: " if origin else ""
        key = _named(raw, problem.path)
        located.append((line, f"  {where}{key}: {problem.text}" if key else f"  {problem.text}"))
    lines = [text for _, text in sorted(located, key=lambda pair: pair[0])]
    count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
    return ConfigError(
        "\n".join([f"{path}: {count}", *lines]),
        code="config-invalid",
        hint="Every key and what it may hold: tamis config schema",
    )
