"""What every run starts from: names that were checked, and the input as it was found.

In: a configuration. Out: its files, their types, and the fingerprints that name the run; nothing is read but footers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from engine.config import Config, Target, Value
from engine.config_file import config_hash
from engine.errors import ConfigError, IntegrityError
from engine.events.contacts import contact_schema
from engine.events.files import find_files
from engine.events.schema import FILTERABLE
from engine.points.cards import resolved_cards
from engine.propensity.labels import target_condition
from engine.segments.definitions import definitions
from engine.stages.input import Input, input_fingerprint, open_input, side_tables
from engine.suggest import did_you_mean

_SHOWN = 20


@dataclass(frozen=True)
class Opened:
    """A configuration and its input.

    Attributes:
        contacts: Name and type of each contact attribute.
        fingerprints: sha256 of the configuration and of the identity of the input files.
        stamps: Size and time of change of every input file.
    """

    config: Config
    contacts: dict[str, pl.DataType]
    given: Input
    fingerprints: dict[str, str]
    stamps: dict[Path, tuple[int, int]]


def open_run(config: Config, *, cache: Path | None = None) -> Opened:
    """Check the names in a configuration, and find every file of its input.

    Args:
        config: The configuration.
        cache: Where text files are converted to, for a run that must not write to the output root; see `open_input`.

    Raises:
        ConfigError: The configuration names what does not exist.
        DataError: Files that cannot be read, or whose columns do not fit.
    """
    contacts = check_names(config)
    # Tasks may run in other working directories than this process.
    config = config.model_copy(update={"out": str(Path(config.out).absolute())})
    given = open_input(config, cache=cache)
    stamps = _stamps(config, given)
    fingerprints = {"config": config_hash(config), "input": input_fingerprint(config, given)}
    return Opened(config, contacts, given, fingerprints, stamps)


def check_names(config: Config) -> dict[str, pl.DataType]:
    """Everything that can be checked before the log is opened; the contact attributes and their types.

    Raises:
        ConfigError: The configuration names what does not exist.
        DataError: Contacts that cannot be read.
    """
    if re.search(r"(?:^|/)[a-z][a-z0-9+.-]+:/", config.out):
        raise ConfigError(
            f"out must be a folder, got {config.out!r}; object stores cannot be written to yet",
            code="out-remote",
            hint="Name a folder that all workers see, and copy the published tables from there.",
        )
    definitions(config)
    resolved_cards(config)
    if config.segment_fallback == "rfm" and config.events.purchase is None:
        raise ConfigError(
            "segment_fallback is 'rfm', but events.purchase names no event type to score",
            code="segment-fallback",
            hint="Name the purchases in events.purchase, or set segment_fallback to the name of a segment.",
        )
    unmapped = [line for target in config.targets for line in _unmapped(config, target)]
    if unmapped:
        raise ConfigError(
            "conditions of targets that no event can satisfy\n" + "\n".join(unmapped),
            code="target-where",
            hint="Map the column in [sources.columns] of the source that has these events, or leave it out.",
        )
    contacts = {} if config.contacts is None else contact_schema(config.contacts)[1]
    _check_accounts(config, contacts)
    return contacts


def _check_accounts(config: Config, contacts: Mapping[str, pl.DataType]) -> None:
    if config.accounts is None:
        return
    name = config.accounts.column
    dtype = contacts.get(name)
    if config.contacts is None:
        problem = "there are no [contacts]"
    elif dtype is None:
        problem = f"no attribute {name!r}{did_you_mean(name, contacts)}"
    elif not (dtype.is_integer() or dtype == pl.String):
        problem = f"expected text or whole numbers in {name!r}, got {dtype}"
    else:
        return
    raise ConfigError(
        f"accounts.column must be a contact attribute: {problem}",
        code="accounts-column",
        hint=f"Attributes: {', '.join(contacts)}."
        if contacts
        else "Add [contacts] with the attribute, or leave [accounts] out.",
    )


def _unmapped(config: Config, target: Target) -> list[str]:
    """The columns in a target's condition that are null in every row of its event type."""
    sources = [source for source in config.sources if _may_have(source.columns.event_type, target.event)]
    mapped = {name for source in sources for name in FILTERABLE if getattr(source.columns, name) is not None}
    # Without any source of the event it is the event's name that is wrong; that is told once the log was read.
    return [
        f"  targets.{target.name}.where: {name!r} is mapped by no source of {target.event!r} events: {target.where}"
        for name in target_condition(target)[1]
        if sources and name not in mapped
    ]


def _may_have(event_type: object, name: str) -> bool:
    return not isinstance(event_type, Value) or str(event_type.value) == name


def check_unchanged(opened: Opened) -> None:
    """Check that the input files are still those that the run started with.

    Raises:
        IntegrityError: Files were changed, replaced, removed or added.
    """
    now = _stamps(opened.config, opened.given)
    then = opened.stamps
    changed = sorted(file for file in then.keys() | now.keys() if then.get(file) != now.get(file))
    if changed:
        listed = "\n".join(f"  {file}" for file in changed[:_SHOWN])
        more = f"\n  and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        raise IntegrityError(
            f"{len(changed)} input files were changed, replaced or removed during the run\n{listed}{more}",
            code="input-changed",
            hint="Nothing was written. Run the command again when nothing else writes to these files.",
        )


def _stamps(config: Config, given: Input) -> dict[Path, tuple[int, int]]:
    """Size (bytes) and time of change (ns since 1970) of every input file that is there."""
    files = [Path(file.path) for item in given.units for file in item.unit.files]
    for owner, path in side_tables(config):
        # All of them may be gone since they were opened.
        with suppress(ConfigError):
            files += find_files(owner, path)
    stamps = {}
    for file in files:
        with suppress(FileNotFoundError):
            found = file.stat()
            stamps[file] = (found.st_size, found.st_mtime_ns)
    return stamps
