"""Erase people: tombstones first, then every holding, then a proof, then a receipt.

A run that begins after the tombstones are written cannot bring anybody back, whatever the sources still hold. Each
holding is left whole and verifiable at any moment; an erasure that is cut short is finished by the next one.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from engine.config import Config
from engine.erasure.bundles import learnt_from, remove_old_bundles
from engine.erasure.exports import exports_of
from engine.erasure.held import Holding, Place, Removed
from engine.erasure.holdings import HOLDINGS, find_everything
from engine.erasure.journal import Journal, Work, journal_path, journals_folder, unfinished
from engine.erasure.people import People
from engine.erasure.proof import ID_COLUMNS, files_with
from engine.erasure.resolve import check_ids, find_people
from engine.erasure.sources import sources_of, tables_beside
from engine.erasure.store import first_event, store_users
from engine.errors import ConfigError, IntegrityError
from engine.events.keys import user_key
from engine.history import events
from engine.privacy.ids import id_as_kept, id_rules, kept_ids
from engine.privacy.key import key_source, load_key
from engine.privacy.tombstones import Form, erased_rows, read_tombstones, with_erased, write_tombstones
from engine.tables import disk
from engine.tables.durable import durable_json
from engine.tables.layout import work_root
from engine.tables.lock import writer_lock
from engine.tables.publish import recover

RECEIPT_FORMAT: Final = 1
_RUN: Final = "erase"
_SHOWN: Final = 20
Tell = Callable[[str], None]


class NamedError(IntegrityError):
    """No holding has the people any more, but some file still names them."""


@dataclass(frozen=True)
class Planned:
    """What would be erased.

    Attributes:
        asked: How many ids were given.
        unknown: Positions (from 1) of those that nothing is held about.
        before: Positions of those that were erased before.
        holdings: Rows and files by holding.
        bundles: Bundles that may have learnt from them; they stay.
        exports: Exports that may have had them.
        sources: Files of the sources that hold them; they are not touched.
    """

    asked: int
    unknown: tuple[int, ...]
    before: tuple[int, ...]
    holdings: Mapping[str, Mapping[str, int]]
    bundles: Sequence[Mapping[str, Any]] = ()
    exports: Sequence[Mapping[str, Any]] = ()
    sources: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def known(self) -> int:
        """Ids that something is held about."""
        return self.asked - len(self.unknown)


@dataclass(frozen=True)
class Erasure:
    """What was erased.

    Attributes:
        planned: What was found.
        receipts: Files below the output root: also of erasures that were cut short, and were finished first.
        removed: What each holding gave up.
    """

    planned: Planned
    receipts: tuple[str, ...]
    removed: Mapping[str, Removed]


def plan_erasure(config: Config, asked: Sequence[str]) -> Planned:
    """What `erase_people` would take away; nothing is written.

    Args:
        config: The configuration.
        asked: Ids of users, as the sources have them or as pseudonyms, each once.

    Raises:
        ConfigError: There is no key: nobody could be kept from coming back.
        DataError: A table beside the log cannot be read.
        IntegrityError: Something below the output root is damaged.
    """
    config = _absolute(config)
    _check_key(config)
    return _plan(config, asked)[0]


def erase_people(config: Config, asked: Sequence[str], reason: str, *, tell: Tell = lambda _: None) -> Erasure:
    """Erase people from everything below the output root, and from exports and table formats that lead out of it.

    Erasures that were cut short are finished first. Ids that nothing is held about are left alone: they get no
    tombstone.

    Args:
        config: The configuration.
        asked: Ids of users, as the sources have them or as pseudonyms, each once.
        reason: Why; it stands in the receipt and must name nobody.
        tell: Given a line to read at each step.

    Raises:
        ConflictError: Another run is writing to the output.
        IntegrityError: A file still names somebody; nothing is lost, and erasing again goes on.
        TamisError: As `plan_erasure`.
    """
    config = _absolute(config)
    out = Path(config.out)
    _check_key(config)
    _check_reason(reason, asked)
    if not out.is_dir():
        return Erasure(Planned(len(asked), tuple(range(1, len(asked) + 1)), (), {}), (), {})
    with writer_lock(out, _RUN):
        recover(out)
        _sweep_work(out)
        receipts = []
        for journal in unfinished(out):
            tell(f"finishing the erasure {journal.work.erasure}, which was cut short")
            receipts.append(_carry_out(config, journal, tell))
        planned, people = _plan(config, asked)
        removed: Mapping[str, Removed] = {}
        if planned.known:
            journal = _begin(config, people, planned, reason)
            receipts.append(_carry_out(config, journal, tell))
            removed = {name: _removed(done) for name, done in journal.work.done.items()}
    return Erasure(planned, tuple(receipts), removed)


def finish_erasures(config: Config, *, tell: Tell = lambda _: None) -> tuple[str, ...]:
    """Finish erasures that were cut short, before a run reads what they have not come to yet.

    One that only waits for files that name somebody beside all holdings goes on waiting, with a warning: no table holds
    the people any more, and such files are what a run can make anew.

    Returns:
        Their receipts, below the output root; none when there was nothing to finish.

    Raises:
        TamisError: As `erase_people`.
    """
    config = _absolute(config)
    out = Path(config.out)
    if not journals_folder(out).is_dir():
        return ()
    with writer_lock(out, _RUN):
        recover(out)
        _sweep_work(out)
        receipts = []
        for journal in unfinished(out):
            tell(f"finishing the erasure {journal.work.erasure}, which was cut short")
            try:
                receipts.append(_carry_out(config, journal, tell))
            except NamedError as error:
                # Only another run makes these files anew, so it must not be held up; the erasure goes on waiting.
                events.warned(f"the erasure {journal.work.erasure} is not finished: {error.message}")
    return tuple(receipts)


def receipt_path(out: Path, erasure: str) -> Path:
    """The receipt of an erasure."""
    return out / "_privacy" / "receipts" / f"{erasure}.json"


# ------------------------------------------------------------------------------------------------------------- planning


def _plan(config: Config, asked: Sequence[str]) -> tuple[Planned, People]:
    out = Path(config.out)
    check_ids(config, asked)
    everyone, own = find_people(config, asked)
    place = Place(config, everyone)
    there: set[str] = set()
    keys: set[int] = set()
    holdings: dict[str, dict[str, int]] = {}
    by_name: dict[str, Holding] = {}
    ids = set(everyone.ids)
    for holding, held in find_everything(place):
        counted = holdings.setdefault(holding.name, {"rows": 0, "files": 0})
        counted["rows"] += held.rows.height
        counted["files"] += len(held.files)
        told = _ids_in(held.rows) & ids
        there |= told
        if "user_key" in held.rows.columns:
            keys |= set(held.rows["user_key"].to_list())
        elif not told and held.is_about_people:
            by_name[holding.name] = holding
    of_key = dict(zip(_keys_of(everyone), everyone.values.cast(pl.String).to_list(), strict=True))
    there |= {user for key, user in of_key.items() if key in keys}
    rules, before = id_rules(config), _erased_before(config, asked)
    beside = {user for one in tables_beside(place) for user in kept_ids(one.ids, rules).ids.cast(pl.String)}
    # Whoever was erased before is erased again only where something is found of them: their sources may hold them.
    known = {
        user
        for number, (user, ids) in enumerate(own.items(), start=1)
        if ids & there or (number not in before and (ids & beside or len(ids) > 1))
    }
    known |= _named_in(config, tuple(by_name.values()), [user for user in asked if user not in known])
    people = everyone if len(known) == len(own) else find_people(config, sorted(known))[0]
    planned = Planned(
        asked=len(asked),
        unknown=tuple(number for number, user in enumerate(asked, start=1) if user not in known),
        before=before,
        holdings={},
    )
    if not known:
        return planned, people
    return replace(
        planned,
        holdings=holdings,
        bundles=learnt_from(out, first_event(place)),
        exports=exports_of(place),
        sources=sources_of(place),
    ), people


def _named_in(config: Config, holdings: Sequence[Holding], asked: Sequence[str]) -> set[str]:
    """Those of some ids that holdings have whose rows do not tell which id they are of; found by halving."""
    if not asked or not holdings:
        return set()
    place = Place(config, find_people(config, asked)[0])
    if not any(held.is_about_people for holding in holdings for held in holding.find(place)):
        return set()
    if len(asked) == 1:
        return set(asked)
    half = len(asked) // 2
    return _named_in(config, holdings, asked[:half]) | _named_in(config, holdings, asked[half:])


def _ids_in(rows: pl.DataFrame) -> set[str]:
    names = [name for name in ID_COLUMNS if name in rows.columns]
    return {str(user) for name in names for user in rows[name].drop_nulls().unique()}


def _keys_of(people: People) -> list[int]:
    keys = people.values.to_frame().select(user_key(pl.col("user_id"), people.rekeyed))
    return [int(key) for key in keys.to_series()]


def _erased_before(config: Config, asked: Sequence[str]) -> tuple[int, ...]:
    """Positions of ids that have a tombstone."""
    tombstones = read_tombstones(Path(config.out))
    if not len(tombstones):
        return ()
    rules, key = id_rules(config), load_key(key_source(config))
    form = "pseudonym" if rules.pseudonyms else "id"
    ids = pl.Series("id", [id_as_kept(user, rules) for user in asked], pl.String)
    erased = erased_rows(ids, tombstones, key, form)  # type: ignore[arg-type]
    return tuple(number for number, is_erased in enumerate(erased, start=1) if is_erased)


def _absolute(config: Config) -> Config:
    return config.model_copy(update={"out": str(Path(config.out).absolute())})


def _check_key(config: Config) -> None:
    try:
        load_key(key_source(config))
    except ConfigError as error:
        raise ConfigError(
            f"{error.message}; a keyed hash of everybody who is erased keeps them from coming back",
            code=error.code,
            hint=error.hint,
        ) from error


def _check_reason(reason: str, asked: Sequence[str]) -> None:
    named = People(tuple(asked)).named_in(pl.Series([reason]))
    if not reason.strip() or named or "@" in reason:
        raise ConfigError(
            "the reason must say why, and must not name the person: it stands in the receipt",
            code="erase-reason",
            hint="Such as --reason 'request of 2026-03-01' or the number of a ticket.",
        )


# ------------------------------------------------------------------------------------------------------------- erasing


def _begin(config: Config, people: People, planned: Planned, reason: str) -> Journal:
    """Note the erasure, then write the tombstones: from here on nobody of them comes back."""
    out = Path(config.out)
    told = {
        "holdings": planned.holdings,
        "bundles": [dict(one) for one in planned.bundles],
        "exports": [dict(one) for one in planned.exports],
        "sources": {owner: list(files) for owner, files in planned.sources.items()},
    }
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    journal = Journal(out, Work(name, reason, planned.known, people, told=told))
    journal.write()
    return journal


def _bury(config: Config, people: People) -> None:
    out, rules, key = Path(config.out), id_rules(config), load_key(key_source(config))
    form: Form = "pseudonym" if rules.pseudonyms else "id"
    before = read_tombstones(out)
    after = with_erased(before, people.ids, key, store_users(out), form)
    if len(after) != len(before):
        write_tombstones(after, out)


def _carry_out(config: Config, journal: Journal, tell: Tell) -> str:
    out, work = Path(config.out), journal.work
    _bury(config, work.people)
    place = Place(config, work.people)
    for holding in HOLDINGS:
        tell(f"erasing from {holding.name}")
        removed = holding.erase(place, journal)
        before = journal.work.done.get(holding.name)
        total = removed if before is None else _removed(before) + removed
        journal.note(done={**journal.work.done, holding.name: asdict(total)})
    remove_old_bundles(place, journal)
    tell("looking through every file")
    _prove(place, journal)
    path = receipt_path(out, work.erasure)
    durable_json(work.people.without(_receipt(journal.work)), path)
    journal.close()
    return path.relative_to(out).as_posix()


def _prove(place: Place, journal: Journal) -> None:
    """Nothing is found any more, neither by the holdings nor in the bytes of any file.

    Raises:
        IntegrityError: Something is; the files are told, and never who.
    """
    own = journal_path(place.out, journal.work.erasure).relative_to(place.out).as_posix()
    held = [file for _, held in find_everything(place) for file in held.files]
    left = held + files_with(place.out, place.people, frozenset({own, "_work/lock", "_work/holder.json"}))
    if left:
        names = sorted(set(left))
        more = [f"  and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
        kind = IntegrityError if held else NamedError
        raise kind(
            "\n".join(
                ["files still name somebody who was to be erased:", *(f"  {one}" for one in names[:_SHOWN]), *more]
            ),
            code="erasure-incomplete",
            hint="Where a rule, a list or a path of the configuration names them, change it and run these dates again; "
            "then erase again, which goes on from here.",
        )


def _receipt(work: Work) -> dict[str, Any]:
    """What was done, without who: no id, no address, and no hash of either."""
    told = work.told
    dates = sorted({day for done in work.done.values() for day in done.get("dates", ())})
    return {
        "format": RECEIPT_FORMAT,
        "erasure": work.erasure,
        "kind": "erasure",
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "reason": work.reason,
        "people": work.asked,
        "ids": len(work.people.ids),
        "holdings": {
            name: {key: done[key] for key in ("rows", "rewritten", "removed")} for name, done in work.done.items()
        },
        "dates": dates,
        "bundles_replaced": sum(bool(new) for new in work.bundles.values()),
        "bundles_removed": sum(not new for new in work.bundles.values()),
        "learnt_from": told.get("bundles", []),
        "exports": told.get("exports", []),
        "sources": told.get("sources", {}),
        "proof": "no file below the output root names them",
    }


def _removed(done: Mapping[str, Any]) -> Removed:
    return Removed(done["rows"], done["rewritten"], done["removed"], tuple(done["dates"]))


def _sweep_work(out: Path) -> None:
    """Work folders of runs that were killed hold people; the lock is held, and whatever counts was completed."""
    for path in disk.list_folder(work_root(out)):
        if path.is_dir():
            disk.remove_tree(path)
