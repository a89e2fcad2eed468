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
from engine.consent.log import consent_files
from engine.consent.purposes import check_purposes
from engine.contacts.duplicates.decisions import decisions_file
from engine.contacts.shape import contact_schema
from engine.errors import ConfigError, IntegrityError
from engine.events.files import locate_files, stamp_of
from engine.events.schema import FILTERABLE
from engine.history import events
from engine.points.cards import resolved_cards
from engine.privacy.opposed import opposed_file
from engine.propensity.labels import target_condition
from engine.quality.limits import check_limits
from engine.remote.address import RemoteFile, is_remote
from engine.remote.fetch import cache_folder, clear
from engine.segments.definitions import definitions
from engine.segments.static_lists import kept_lists, read_lists
from engine.stages.fetching import remote_stamps
from engine.stages.input import Input, input_fingerprint, open_input, side_tables
from engine.stages.places import check_places
from engine.suggest import did_you_mean

_SHOWN = 20


@dataclass(frozen=True)
class Opened:
    """A configuration and its input.

    Attributes:
        contacts: Name and type of each contact attribute.
        fingerprints: sha256 of the configuration and of the identity of the input files.
        stamps: Size and time of change of every input file.
        lists: The ids of static lists, by segment, as `engine.segments.static_lists.read_lists` gives them.
    """

    config: Config
    contacts: dict[str, pl.DataType]
    given: Input
    fingerprints: dict[str, str]
    stamps: dict[Path | str, tuple[int, int]]
    lists: dict[str, pl.Series]


def open_run(config: Config, *, cache: Path | None = None) -> Opened:
    """Check the names in a configuration, and find every file of its input.

    Args:
        config: The configuration.
        cache: Where text files are converted and remote ones fetched to, for a run that must not write to the output
            root; see `open_input`.

    Raises:
        ConfigError: The configuration names what does not exist.
        DataError: Files that cannot be read, or whose columns do not fit.
    """
    check_places(config)
    remote = cache_folder(cache or Path(config.out).absolute())
    try:
        contacts = check_names(config, remote)
        # Tasks may run in other working directories than this process.
        config = config.model_copy(update={"out": str(Path(config.out).absolute())})
        given = open_input(config, cache=cache)
        own = read_lists(definitions(config), given.source_dtype, pseudonyms=given.ids.pseudonyms)
        lists = kept_lists(own, given.ids)
    except BaseException:
        clear(remote)
        raise
    stamps = _stamps(config, given, _as_listed(given))
    fingerprints = {"config": config_hash(config), "input": input_fingerprint(config, given)}
    if events.is_heard():
        events.input_found(
            files=sum(len(found.unit.files) for found in given.units),
            rows=given.rows(config),
            size=sum(size for size, _ in stamps.values()),
            fingerprint=fingerprints["input"],
        )
    return Opened(config, contacts, given, fingerprints, stamps, lists)


def check_names(config: Config, cache: Path | None = None) -> dict[str, pl.DataType]:
    """Everything that can be checked before the log is opened; the contact attributes and their types.

    Args:
        config: The configuration.
        cache: Where remote contacts are fetched to.

    Raises:
        ConfigError: The configuration names what does not exist.
        DataError: Contacts that cannot be read.
    """
    if re.search(r"(?:^|/)[a-z][a-z0-9+.-]+:/", config.out):
        raise ConfigError(
            f"out must be a folder, or an s3://, gs:// or az:// address in a configuration file, got {config.out!r}",
            code="out-remote",
            hint="Name such an address, or a folder that all workers see; publish.state is always a folder.",
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
    contacts = {} if config.contacts is None else contact_schema(config.contacts, cache)[1]
    _check_accounts(config, contacts)
    check_purposes(config)
    if config.consent is not None:
        consent_files(config.consent, cache)
    check_limits(config, contacts)
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
    now = _stamps(opened.config, opened.given, remote_stamps(opened.config, opened.given.units))
    then = opened.stamps
    changed = sorted(str(file) for file in then.keys() | now.keys() if then.get(file) != now.get(file))
    if changed:
        listed = "\n".join(f"  {file}" for file in changed[:_SHOWN])
        more = f"\n  and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        raise IntegrityError(
            f"{len(changed)} input files were changed, replaced or removed during the run\n{listed}{more}",
            code="input-changed",
            hint="Nothing was written. Run the command again when nothing else writes to these files.",
        )


def _stamps(config: Config, given: Input, remote: Mapping[str, tuple[int, int]]) -> dict[Path | str, tuple[int, int]]:
    """Size (bytes) and time of change (ns since 1970) of every input file that is there; of remote ones as given."""
    stamps: dict[Path | str, tuple[int, int]] = dict(remote.items())
    paths = [file.path for item in given.units for file in item.unit.files]
    files: list[Path | RemoteFile] = [Path(path) for path in paths if not is_remote(path)]
    for owner, path in side_tables(config):
        # All of them may be gone since they were opened.
        with suppress(ConfigError):
            files += locate_files(owner, path, text=True)
    files += [decisions_file(Path(config.out)), opposed_file(Path(config.out)), *map(Path, config.privacy.opposed)]
    for file in files:
        with suppress(FileNotFoundError):
            stamps[file.url if isinstance(file, RemoteFile) else file] = stamp_of(file)
    return stamps


def _as_listed(given: Input) -> dict[str, tuple[int, int]]:
    """The stamps of remote files as they were found."""
    files = (file for item in given.units for file in item.unit.files)
    return {file.path: (file.size, file.modified_ns) for file in files if is_remote(file.path)}
