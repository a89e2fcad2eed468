"""The input of a run: which files there are, what they are made of, and the marks that tell whether they are the same.

In: a configuration. Out: the units of the log; of those that the store lacks, the footers are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from engine.config import Config, Source
from engine.contacts.duplicates.decisions import merges_digest
from engine.contacts.duplicates.links import with_exclusions, with_merges
from engine.contacts.shape import cleaning_libraries, supplied_files
from engine.erasure.emptied import emptied_by
from engine.errors import DataError
from engine.events.convert import convert_files
from engine.events.exclusion import is_excluded
from engine.events.files import hive_values, locate_files, stamp_of, text_kind
from engine.events.identities import identity_files, read_identities
from engine.events.ingest import Piece
from engine.events.probe import Footer, read_footers
from engine.events.read import Stamp, input_changed, reading, scan, source_mapping
from engine.events.untrusted import DataRequest, Quarantined, columns_read, data_problems, unreadable
from engine.privacy.ids import IdRules, id_rules
from engine.privacy.links import KeptLinks, keep_links
from engine.privacy.opposed import objections_digest
from engine.quality.mapped import KnownEmpty, plain_columns
from engine.remote.address import RemoteFile, is_remote
from engine.remote.fetch import cache_folder
from engine.rollups.index import Entry, Index
from engine.rollups.rolling import Found
from engine.rollups.units import SourceFile, Unit, source_file, units_of
from engine.rollups.update import find_units, open_index, store_folder
from engine.stages.fetching import local_copies, portions, with_addresses
from engine.tables import disk


@dataclass(frozen=True)
class Input:
    """The checked input of a run: the units of the log, and the type of user ids.

    Attributes:
        units: The units; those that the store does not have are opened, which means that they have pieces.
        known: The entries of the store that may fit the others.
        user_dtype: Type of user ids, as they are kept.
        quarantined: Files that cannot be read, of units that have no other file and are left out.
        source_dtype: Type of user ids in the sources; another one where they are replaced by pseudonyms.
        ids: What becomes of ids.
    """

    units: tuple[Found, ...]
    known: dict[tuple[str, str], Entry]
    user_dtype: str
    quarantined: tuple[Quarantined, ...] = ()
    source_dtype: str = ""
    ids: IdRules = field(default_factory=IdRules)

    def rows(self, config: Config) -> int:
        """Rows of all source files."""
        return sum(
            sum(piece.rows for piece in found.pieces) if found.pieces else self.known[unit_name(config, found)].read
            for found in self.units
        )


def unit_name(config: Config, found: Found) -> tuple[str, str]:
    """Source and label of a unit."""
    return config.sources[found.unit.source].name, found.unit.label


def open_input(config: Config, *, cache: Path | None = None) -> Input:
    """Find every file of every source, and open those that the store does not have.

    Args:
        config: The configuration; its output root is absolute.
        cache: Where text files are converted and remote ones fetched to, for a run that must not write to the output
            root: then the store does not count either, and every file is opened.

    Raises:
        ConfigError: A path without files.
        DataError: Unreadable files, schemas that do not fit the mapping, user ids of different types.
        TransientError: Storage that does not answer.
    """
    units: list[Unit] = []
    remote = cache_folder(cache or Path(config.out))
    for position, source in enumerate(config.sources):
        files = _find(source, cache or converted_folder(Path(config.out)), remote, config)
        units += units_of(position, files, apart=source.columns.event_id is None)
    index = open_index(store_folder(Path(config.out)))[0] if cache is None else Index()
    is_strict = config.checks.bad_files == "refuse"
    known = index.by_name()
    found = find_units(config, units)
    new = [
        item
        for item in found
        if (entry := known.get(unit_name(config, item))) is None
        or entry.fingerprint != item.fingerprint
        or (entry.quarantined and is_strict)
    ]
    opened = {item.unit: item for item in open_units(config, new, remote)}
    looked_at = [opened.get(item.unit, item) for item in found]
    units_found = tuple(item for item in looked_at if item.pieces or not item.quarantined)
    lost = tuple(bad for item in looked_at if not item.pieces for bad in item.quarantined)
    _check_left(config, units_found, lost)
    user_dtypes: dict[str, str] = {}
    for item in units_found:
        name = config.sources[item.unit.source].name
        user_dtypes[item.user_dtype or known[unit_name(config, item)].user_dtype] = name
    if len(user_dtypes) > 1:
        listed = ", ".join(f"{dtype} in source {name!r}" for dtype, name in sorted(user_dtypes.items()))
        raise DataError(
            f"user ids have different types: {listed}",
            code="user-id-types",
            hint='Cast one of them in its mapping: user_id = { sql = "CAST(… AS VARCHAR)" }.',
        )
    user_dtype = next(iter(user_dtypes))
    # What is listed there must be able to be the id of a user.
    is_excluded(config.exclude, pl.col("user_id"), dtype_of(user_dtype))
    if config.identity is not None:
        identity_files(config.identity, dtype_of(user_dtype), remote)
    ids = id_rules(config)
    return Input(units_found, known, "String" if ids.pseudonyms else user_dtype, lost, user_dtype, ids)


def sample_files(given: Input) -> list[Path]:
    """A file of each source, of those that lie in a file system."""
    first = {item.unit.source: item.unit.files[0].path for item in reversed(given.units)}
    return [Path(path) for _, path in sorted(first.items()) if not is_remote(path)]


def dtype_of(user_dtype: str) -> pl.DataType:
    """The type of user ids by its name."""
    return pl.String() if user_dtype == "String" else pl.Int64()


def converted_folder(out: Path) -> Path:
    """Where text files lie once they are converted to Parquet."""
    return out / "_converted"


def _find(source: Source, cache: Path, remote: Path, config: Config) -> list[SourceFile]:
    files = locate_files(source.name, source.path, text=True)
    if not any(text_kind(file) for file in files):
        return [as_found(source, file) for file in files]
    found = [as_found(source, file) for file in files]
    disk.make_folder(cache)
    emptied = emptied_by(source, id_rules(config), config.currency_digits)
    # Another run may be converting the same files; once it has, they are all there.
    with disk.lock(cache / ".lock"):
        converted = convert_files(files, source, cache, remote, emptied)
    return [replace(file, parquet=str(parquet)) for file, parquet in zip(found, converted, strict=True)]


def as_found(source: Source, file: Path | RemoteFile) -> SourceFile:
    """What the file system says of a file of a source, or the listing of an object store.

    Raises:
        IntegrityError: It is not there any more.
    """
    try:
        return source_file(file)
    except FileNotFoundError as error:
        raise input_changed(f"source {source.name!r}: {file} was removed while it was looked at") from error


def _check_left(config: Config, units: Sequence[Found], lost: Sequence[Quarantined]) -> None:
    """Stop when a source has lost all its files: what it tells would be missing from every number of the run."""
    left = {item.unit.source for item in units}
    bare = [source.name for position, source in enumerate(config.sources) if position not in left]
    bad = [one for one in lost if one.source in bare]
    if bad:
        raise unreadable(bad, len(bad))


def open_unit(config: Config, found: Found) -> Found:
    """A unit with its rows; see `open_units`.

    Raises:
        DataError: None of its files can be read, or a schema does not fit the mapping.
        TransientError: Storage that does not answer.
    """
    [opened] = open_units(config, [found])
    if not opened.pieces:
        raise unreadable(opened.quarantined, len(opened.quarantined))
    return opened


def open_units(config: Config, units: Sequence[Found], remote: Path | None = None) -> list[Found]:
    """Read the footers of units, and check their schemas.

    Remote files are fetched for that, as many at a time as the cache can hold.

    With `checks.bad_files = "quarantine"`, the data of every file is decoded too, and those that cannot be read are
    left out: a unit that has no other file comes back without pieces.

    Args:
        config: The configuration.
        units: The units.
        remote: Where copies of remote files are kept; below the output root when None.

    Raises:
        DataError: Unreadable files, schemas that do not fit the mapping; all files at once.
        TransientError: Storage that does not answer.
    """
    cache = remote or cache_folder(Path(config.out))
    opened = []
    for portion in portions(units):
        with local_copies(portion, cache) as copies:
            pairs = zip(portion, _open_local(config, copies), strict=True)
            opened += [with_addresses(found, item, cache) for found, item in pairs]
    return opened


def _open_local(config: Config, units: Sequence[Found]) -> list[Found]:
    files = [(item.unit.source, file) for item in units for file in item.unit.files]
    asked = {Path(file.parquet): plain_columns(config.sources[source]) for source, file in files}
    footers = dict(zip(files, read_footers([Path(file.parquet) for _, file in files], asked), strict=True))
    problems = {key: footer.problem for key, footer in footers.items() if footer.problem}
    is_strict = config.checks.bad_files == "refuse"
    if problems and is_strict:
        raise unreadable(_quarantined(config, problems), len(footers))
    user_dtypes: dict[int, str] = {}
    for same in _by_schema([key for key in footers if key not in problems], footers):
        position, file = same[0]
        source = config.sources[position]
        try:
            found_dtype = _check_schema(source, footers[same[0]], config.currency_digits)
            known_dtype = user_dtypes.setdefault(position, found_dtype)
            if found_dtype != known_dtype:
                raise _of_two_types(source.name, known_dtype, found_dtype, file.path)
            if not is_strict:
                columns = columns_read(source, file.parquet, config.currency_digits)
                requests = [DataRequest(one.parquet, columns, footers[position, one].rows) for _, one in same]
                found = zip(same, data_problems(requests), strict=True)
                problems |= {key: problem for key, problem in found if problem}
        except DataError as error:
            if error.code != "input-unreadable":
                raise
            problems |= dict.fromkeys(same, "its schema cannot be read")
    if problems and is_strict:
        raise unreadable(_quarantined(config, problems), len(footers))
    return [_opened(config, item, footers, problems, user_dtypes) for item in units]


def _of_two_types(source: str, known: str, found: str, file: str) -> DataError:
    return DataError(
        f"source {source!r}: user ids have different types: {known}, and {found} in {file}",
        code="user-id-types",
        hint='Cast one of them in its mapping: user_id = { sql = "CAST(… AS VARCHAR)" }.',
    )


_Key = tuple[int, SourceFile]
"""Position of a source, and a file of it."""


def _quarantined(config: Config, problems: Mapping[_Key, str]) -> list[Quarantined]:
    return [Quarantined(config.sources[source].name, file.path, why) for (source, file), why in problems.items()]


def _opened(
    config: Config,
    item: Found,
    footers: Mapping[_Key, Footer],
    problems: Mapping[_Key, str],
    user_dtypes: Mapping[int, str],
) -> Found:
    keys = [(item.unit.source, file) for file in item.unit.files]
    pieces = tuple(
        Piece(
            position,
            file.parquet,
            0,
            footers[position, file].rows,
            _stamp(file, footers[position, file]),
            file.path,
            empty=tuple(KnownEmpty(*one) for one in footers[position, file].empty),
        )
        for position, file in keys
        if (position, file) not in problems
    )
    bad = _quarantined(config, {key: problems[key] for key in keys if key in problems})
    return replace(item, pieces=pieces, user_dtype=user_dtypes.get(item.unit.source, ""), quarantined=tuple(bad))


def _stamp(file: SourceFile, footer: Footer) -> Stamp | None:
    return (file.size, file.modified_ns) if file.parquet == file.path else footer.stamp


def _by_schema(keys: Sequence[_Key], footers: Mapping[_Key, Footer]) -> list[list[_Key]]:
    """The files of one source, one schema and one set of hive folders together."""
    groups: dict[tuple[object, ...], list[_Key]] = {}
    for key in keys:
        footer = footers[key]
        groups.setdefault((key[0], footer.columns, *hive_values(footer.file)), []).append(key)
    return [groups[name] for name in sorted(groups, key=lambda name: groups[name][0][0])]


def _check_schema(source: Source, footer: Footer, currency_digits: int) -> str:
    with reading(f"source {source.name!r}", str(footer.file)):
        return str(source_mapping(source, scan(str(footer.file)), currency_digits).user_dtype)


def input_fingerprint(config: Config, given: Input) -> str:
    """sha256 of the identity of every input file: name, size and time of change."""
    files = [
        (config.sources[item.unit.source].name, file.path, file.size, file.modified_ns)
        for item in given.units
        for file in item.unit.files
    ]
    for owner, path in side_tables(config):
        files += [(owner, str(file), *stamp_of(file)) for file in locate_files(owner, path, text=True)]
    files += [("libraries", library, 0, 0) for library in cleaning_libraries(config.contacts)]
    if given.ids.change_ids:
        files.append(("privacy", f"{given.ids.pseudonyms_of} {given.ids.erased}", 0, 0))
    merges = merges_digest(Path(config.out))
    if merges is not None:
        files.append(("merged contacts", merges, 0, 0))
    objections = objections_digest(Path(config.out), config.privacy.opposed)
    if objections is not None:
        files.append(("objections", objections, 0, 0))
    return hashlib.sha256("\n".join("\0".join(map(str, file)) for file in files).encode()).hexdigest()


def read_links(config: Config, given: Input) -> pl.DataFrame | None:
    """The links of user ids, as they are kept: of the identity table and of merged contacts; None without either.

    Raises:
        DataError: A file that cannot be read, or links that go round in circles.
    """
    return _merged(config, given, keep_links(source_links(config, given), given.ids, config.exclude)).links


def kept_links(config: Config, given: Input, work: Path) -> KeptLinks:
    """As `read_links`, with what they tell of people who were erased.

    Args:
        config: The configuration.
        given: The input.
        work: Folder of the run, for tombstones that count once the run has gone well.

    Raises:
        DataError: A file that cannot be read, or links that go round in circles.
    """
    return _merged(config, given, keep_links(source_links(config, given), given.ids, config.exclude, work))


def _merged(config: Config, given: Input, kept: KeptLinks) -> KeptLinks:
    links = with_merges(kept.links, Path(config.out), dtype_of(given.user_dtype))
    if links is not None and given.ids.pseudonyms:
        links = with_exclusions(links, kept.links, given.ids, config.exclude)
    return replace(kept, links=links, known=kept.links)


def source_links(config: Config, given: Input) -> pl.DataFrame | None:
    """The links of user ids, with the ids of the sources; None without an identity table.

    Raises:
        DataError: A file that cannot be read, or links that go round in circles.
    """
    if config.identity is None:
        return None
    return read_identities(config.identity, dtype_of(given.source_dtype), cache_folder(Path(config.out))).links


def side_tables(config: Config) -> list[tuple[str, str | tuple[str, ...]]]:
    """Owner and path of the tables beside the log."""
    tables: list[tuple[str, str | tuple[str, ...]]] = []
    if config.contacts is not None:
        tables.append(("contacts", config.contacts.path))
        tables += supplied_files(config.contacts)
    if config.identity is not None:
        tables.append(("identity", config.identity.path))
    if config.consent is not None:
        tables.append(("consent", config.consent.path))
    return tables
