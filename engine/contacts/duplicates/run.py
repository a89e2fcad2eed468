"""What the commands do: find the duplicates of a configuration's contacts, and decide about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Final

import polars as pl

from engine.config import Config, Contacts
from engine.contacts.duplicates.decisions import (
    Act,
    Kind,
    Pair,
    changing,
    contacts_folder,
    merged_pairs,
    pair_of,
    read_decisions,
    standing,
    write_decisions,
)
from engine.contacts.duplicates.find import Crowd, attributes_needed, find_pairs
from engine.contacts.duplicates.groups import group_links
from engine.contacts.duplicates.judging import (
    DECISIONS,
    automatic_merges,
    decision_of,
    duplicate_share,
    merged_unasked,
    with_decisions,
)
from engine.contacts.duplicates.order import id_order
from engine.contacts.duplicates.table import Asked, write_pairs
from engine.contacts.read import cleaned_contacts
from engine.contacts.shape import contact_schema
from engine.errors import ConfigError
from engine.privacy.ids import id_as_kept, id_rules
from engine.progress import Progress
from engine.remote.fetch import cache_folder

_DONE: Final = {"merge": "merged", "undo": "undone", "refuse": "refused"}


@dataclass(frozen=True)
class Findings:
    """What was found.

    Attributes:
        contacts: Contacts.
        compared: Candidate pairs that were compared.
        pairs: Pairs by kind.
        decisions: Pairs by decision.
        duplicates: Contacts that are in a group of duplicates.
        surplus: Of these, how many are one too many.
        unasked: Pairs still to be reviewed that the configuration would merge without asking.
        merged: Merges that were made now.
        crowds: What is too large to be one person or to be compared, the largest first.
        files: Where the pairs are; none in a dry run.
    """

    contacts: int
    compared: int
    pairs: dict[str, int]
    decisions: dict[str, int]
    duplicates: int
    surplus: int
    unasked: int
    merged: int
    crowds: tuple[Crowd, ...]
    files: tuple[Path, ...]

    @property
    def rate(self) -> float:
        """Share of the contacts that are in a group of duplicates."""
        return self.duplicates / self.contacts if self.contacts else 0.0


def find_duplicates(
    config: Config,
    as_of: date | None,
    *,
    on: date,
    apply: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Findings:
    """Look for contacts of one person, and write the pairs with what was decided about each.

    Args:
        config: The configuration.
        as_of: The day that the contacts are looked at; None for their last rows.
        on: The day that merges are noted under.
        apply: Whether what the configuration merges without asking is merged.
        dry_run: Write nothing.
        progress: Told how many candidate pairs are compared.

    Raises:
        ConfigError: There are no contacts, nothing to look for, or attributes that do not exist.
        DataError: Contacts that cannot be read.
        IntegrityError: The decisions are damaged.
    """
    contacts, out = _contacts(config), Path(config.out).absolute()
    needed = attributes_needed(contacts.duplicates, contact_schema(contacts, cache_folder(out))[1])
    settings = contacts.duplicates
    found = find_pairs(cleaned_contacts(config, as_of).select("user_id", *needed), settings, progress)
    files: tuple[Path, ...] = ()
    if dry_run:
        decided, acts = _after(read_decisions(out), found.pairs, config, on, apply=apply)
        pairs = with_decisions(found.pairs, decided)
    else:
        with changing(out) as before:
            decided, acts = _after(before, found.pairs, config, on, apply=apply)
            if acts:
                write_decisions((*before, *acts), out)
            pairs = with_decisions(found.pairs, decided)
            files = write_pairs(pairs, out)
    duplicates, surplus = duplicate_share(pairs, found.contacts, settings.largest_group)
    still_open = pairs.filter((pl.col("decision") == "review") & merged_unasked(settings))
    return Findings(
        contacts=found.contacts,
        compared=found.compared,
        pairs=_counted(pairs["kind"], ("exact", "fuzzy")),
        decisions=_counted(pairs["decision"], DECISIONS),
        duplicates=duplicates,
        surplus=surplus,
        unasked=still_open.height,
        merged=len(acts),
        crowds=found.crowds,
        files=files,
    )


def _after(
    before: Sequence[Act], pairs: pl.DataFrame, config: Config, on: date, *, apply: bool
) -> tuple[dict[Pair, Act], list[Act]]:
    decided = standing(before)
    acts = automatic_merges(pairs, _contacts(config).duplicates, decided, on) if apply else []
    return decided | standing(acts), acts


def _counted(values: pl.Series, names: Iterable[str]) -> dict[str, int]:
    counts = Counter(values.to_list())
    return {name: counts[name] for name in names}


@dataclass(frozen=True)
class Decided:
    """What became of pairs that were asked for.

    Attributes:
        counts: Pairs that are `merged`, `undone`, `refused` by it, and those that are `unchanged`.
        links: `from_id` and `to_id` of all ids that are merged now.
        outdated: Pairs of a file that says how they were before something else was decided: they are unchanged, too.
    """

    counts: dict[str, int]
    links: pl.DataFrame
    outdated: int = 0


def pairs_among(ids: Sequence[str]) -> list[Pair]:
    """The pairs that make one person of ids: the first in the order of ids with each other.

    Raises:
        ConfigError: Fewer than two different ids.
    """
    named = pl.DataFrame({"user_id": list(dict.fromkeys(one.strip() for one in ids))}, {"user_id": pl.String})
    known = named.filter(pl.col("user_id") != "").sort(*id_order("user_id"))["user_id"].to_list()
    if len(known) < 2:
        raise ConfigError(
            f"expected two different ids or more, got {len(known)}",
            code="duplicates-pairs",
            hint="Name the ids of one person, or a file of pairs with --from FILE.",
        )
    return [pair_of(known[0], other) for other in known[1:]]


def decide(config: Config, asked: Sequence[Asked], *, on: date, dry_run: bool = False) -> Decided:
    """Note decisions about pairs; pairs that are so already stay as they are.

    Args:
        config: The configuration.
        asked: The pairs and what is asked of each.
        on: The day of the decisions.
        dry_run: Write nothing.

    Raises:
        ConfigError: There are no contacts, ids that no contact has, or pairs to undo that are not merged.
        IntegrityError: The decisions are damaged.
    """
    out = Path(config.out).absolute()
    wanted = _known(config, [one for one in asked if one.kind is not None])
    if dry_run:
        before, new, outdated = _noted(read_decisions(out), wanted, on, out)
    else:
        with changing(out) as acts:
            before, new, outdated = _noted(acts, wanted, on, out)
            if new:
                write_decisions((*before, *new), out)
    counts = Counter(_DONE[act.kind] for act in new)
    after = standing((*before, *new))
    merged = sorted(pair for pair, act in after.items() if act.kind == "merge")
    links = group_links(pl.DataFrame(merged, {"user_id": pl.String, "other_id": pl.String}, orient="row"))
    told = {name: counts[name] for name in _DONE.values()}
    return Decided({**told, "unchanged": len(asked) - len(new)}, links, outdated)


def _noted(before: Sequence[Act], wanted: Sequence[Asked], on: date, out: Path) -> tuple[Sequence[Act], list[Act], int]:
    decided = standing(before)
    ends = {} if all(one.by_hand for one in wanted) else dict(group_links(merged_pairs(before)).rows())
    new: list[Act] = []
    loose = outdated = 0
    for one in wanted:
        kind, act = _kind(one), decided.get(one.pair)
        if one.is_state and act is not None and act.kind != kind:
            # The decision is newer than the file.
            outdated += 1
            continue
        if kind == "undo" and (act is None or act.kind != "merge"):
            # What is undone already may be asked again; what never was may be a mistake.
            loose += act is None or act.kind != "undo"
            continue
        if act is not None and act.kind == kind and (act.by == "person" or not one.by_hand):
            continue
        if act is None and not one.by_hand and len({ends.get(name, name) for name in one.pair}) == 1:
            # One person by way of other pairs, as the table of pairs says: nobody has decided about this one.
            continue
        decided[one.pair] = Act(kind, one.pair, on)
        new.append(decided[one.pair])
    if loose:
        raise ConfigError(
            f"{loose} of {len(wanted)} pairs to undo were not merged with each other",
            code="duplicates-not-merged",
            hint=f"`tamis duplicates list` has the pairs that are ({contacts_folder(out).name}/decisions.json); of ids "
            "that are one person by way of others, undo the pair that joins them.",
        )
    return before, new, outdated


def _kind(one: Asked) -> Kind:
    if one.kind is None:
        message = "a row that asks for nothing"
        raise ValueError(message)
    return one.kind


def _known(config: Config, asked: Sequence[Asked]) -> list[Asked]:
    """The pairs under the ids that the contacts have: pseudonyms, where ids are replaced by them."""
    contacts = _contacts(config)
    decided = standing(read_decisions(Path(config.out).absolute()))
    if all(one.pair in decided for one in asked):
        return list(asked)
    there = cleaned_contacts(config)["user_id"]
    names = {name: name for one in asked for name in one.pair}
    ids = {name for pair in decided for name in pair} | _among(names, there)
    if any(name not in ids for name in names):
        rules = id_rules(config)
        names = {name: name if name in ids else id_as_kept(name, rules) for name in names}
        ids |= _among(names.values(), there)
    unknown = sum(new not in ids for new in names.values())
    if unknown:
        raise ConfigError(
            f"{unknown} of {len(names)} ids are those of no contact",
            code="duplicates-unknown",
            hint=f"Ids stand in the column {contacts.user_id!r} of the contacts.",
        )
    return [replace(one, pair=pair_of(names[one.pair[0]], names[one.pair[1]])) for one in asked]


def _among(names: Iterable[str], there: pl.Series) -> set[str]:
    named = pl.Series("id", list(names), pl.String).unique()
    return set(named.filter(named.is_in(there.implode())))


def decided_pairs(config: Config) -> pl.DataFrame:
    """All pairs that something was decided about, sorted by both ids.

    Returns:
        `user_id`, `other_id`, `decision` (as in the table of pairs), `on` (Date), `by`, and `stays`: the id that the
        group of a merged pair keeps, null for others.

    Raises:
        ConfigError: There are no contacts.
        IntegrityError: The decisions are damaged.
    """
    _contacts(config)
    decided = standing(read_decisions(Path(config.out).absolute()))
    rows = [(*pair, decision_of(act), act.on, act.by) for pair, act in decided.items()]
    schema = {"user_id": pl.String, "other_id": pl.String, "decision": pl.String, "on": pl.Date, "by": pl.String}
    table = pl.DataFrame(rows, schema, orient="row").sort(*id_order("user_id"), *id_order("other_id"))
    is_merged = pl.col("decision").is_in(["merged", "confirmed"])
    links = group_links(table.filter(is_merged))
    stays = pl.col("user_id").replace(links["from_id"], links["to_id"]) if links.height else pl.col("user_id")
    return table.with_columns(stays=pl.when(is_merged).then(stays))


def _contacts(config: Config) -> Contacts:
    if config.contacts is None:
        raise ConfigError(
            "there are no [contacts] to look for duplicates in",
            code="duplicates-no-contacts",
            hint="Add [contacts] with path and user_id, and [contacts.duplicates].",
        )
    return config.contacts
