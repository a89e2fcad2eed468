"""Find the contacts that may be of one person: equal values, and alike ones inside blocks.

In: one row per contact. Out: pairs with their scores; nothing is decided here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

import numpy as np
import polars as pl

from engine.config_contacts import Duplicates
from engine.contacts.duplicates.blocks import block_numbers, parse_blocks
from engine.contacts.duplicates.candidates import Blocks, blocks_of, crowded, pairs_of, stars
from engine.contacts.duplicates.normal import exact, folded, is_comparable
from engine.contacts.duplicates.order import id_order
from engine.contacts.duplicates.similarity import (
    ONE,
    Attribute,
    Scored,
    attribute,
    require_rapidfuzz,
    score_above,
    score_all,
)
from engine.contacts.duplicates.values import Rows, values_of
from engine.errors import ConfigError
from engine.progress import Progress, ProgressEvent
from engine.suggest import did_you_mean

BATCH: Final = 1_000_000
"""Candidate pairs that are scored at a time."""
SIMILARITY: Final = "similarity_"
_STAGE: Final = "compare contacts"
_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True)
class Crowd:
    """Contacts that are too many to be one person, or to be compared.

    Attributes:
        kind: `exact`: an equal value, which links them for review alone; `block`: a block that was not compared.
        key: The attribute or the block key.
        contacts: How many they are.
    """

    kind: Literal["exact", "block"]
    key: str
    contacts: int


@dataclass(frozen=True, eq=False)
class Found:
    """Pairs of contacts that may be of one person.

    Attributes:
        pairs: One row per pair, sorted by both ids (`id_order`): `user_id` and `other_id` (text, the smaller id first),
            `kind` (`exact` or `fuzzy`), `key` (the attribute, or the block key that brought them together first),
            `group_size` (UInt32: contacts with the value; null for `fuzzy`), `score` (Float64, null where nothing can
            be compared), `compared` (Float64: share of the weight of what can), and per compared attribute
            `similarity_<name>` (Float64, null where one of the two has none).
        contacts: Contacts.
        compared: Candidate pairs that were compared.
        crowds: What is too large, the largest first.
    """

    pairs: pl.DataFrame
    contacts: int
    compared: int
    crowds: tuple[Crowd, ...]


def attributes_needed(settings: Duplicates, schema: Mapping[str, pl.DataType]) -> list[str]:
    """The attributes that finding duplicates needs.

    Args:
        settings: Section `contacts.duplicates`.
        schema: The attributes of the contacts.

    Raises:
        ConfigError: There is nothing to look for, or what the section names cannot be used.
    """
    if not settings.exact and not settings.compare:
        raise ConfigError(
            "contacts.duplicates says neither which attributes are one person's alone nor which are compared",
            code="duplicates-nothing",
            hint='Set exact = ["email"], or compare = { last_name = 2, … } with block = ["first(last_name, 4)"].',
        )
    problems = []
    for key, names in (("exact", settings.exact), ("compare", tuple(settings.compare))):
        for name in names:
            if name not in schema:
                problems.append(f"  {key}: no attribute {name!r}{did_you_mean(name, schema)}")
            elif not is_comparable(schema[name]):
                problems.append(f"  {key}: {name!r} is a {schema[name]}, which has no text to compare")
    if problems:
        raise ConfigError(
            "contacts.duplicates names what cannot be compared\n" + "\n".join(problems),
            code="duplicates-attributes",
            hint=f"Attributes: {', '.join(schema)}.",
        )
    comparable = [name for name, dtype in schema.items() if is_comparable(dtype)]
    parts = [part for key in parse_blocks(settings.block, comparable) for part in key.parts]
    if settings.compare:
        require_rapidfuzz()
    return list(dict.fromkeys([*settings.exact, *settings.compare, *(part.column for part in parts)]))


def find_pairs(contacts: pl.DataFrame, settings: Duplicates, progress: Progress | None = None) -> Found:
    """Find pairs by equal values and by likeness.

    Equal values link each contact to the first of its group, so that a group has one pair less than contacts. Alike
    contacts are looked for inside blocks: each pair is compared once, whatever the number of blocks it shares, and not
    at all where an equal value has made it one group already.

    Args:
        contacts: `user_id` (text) and the attributes that `attributes_needed` names; one row per contact, in any order.
        settings: Section `contacts.duplicates`.
        progress: Told how many candidate pairs are compared.
    """
    workers = pl.thread_pool_size()
    rows = contacts.sort(*id_order("user_id"))
    parted = {name: crowded(values_of(rows[name], exact).numbers, settings.largest_group) for name in settings.exact}
    wanted = parse_blocks(settings.block, contacts.columns) if settings.compare else ()
    named = dict.fromkeys((*settings.compare, *(part.column for key in wanted for part in key.parts)))
    columns = {name: values_of(rows[name], folded) for name in named}
    values = [attribute(name, weight, columns[name]) for name, weight in settings.compare.items()]
    blocks = {key.text: blocks_of(block_numbers(key, columns), settings.largest_block) for key in wanted}
    ids = rows["user_id"]
    del rows, columns
    usual = {name: numbers for name, (numbers, _) in parted.items()}
    crowds = {name: numbers for name, (_, numbers) in parted.items()}
    least = round(settings.review * ONE)
    alike, compared = _alike(blocks, tuple(usual.values()), values, least, workers, progress)
    # To be alike says more than to share a value with a crowd.
    listed = [*_equal(usual, values), *alike, *_equal(crowds, values)]
    pairs = pl.concat(listed).unique(["first", "second"], keep="first", maintain_order=True)
    return Found(_named(pairs.sort("first", "second"), ids), ids.len(), compared, _crowds(parted, blocks))


def _equal(groups: Mapping[str, Rows], values: Sequence[Attribute]) -> Iterator[pl.DataFrame]:
    for name, numbers in groups.items():
        first, second = stars(numbers)
        sizes = np.bincount(numbers[numbers >= 0], minlength=1)
        scored = score_all(values, first, second)
        yield _frame(scored, values, "exact", name).with_columns(
            group_size=pl.Series(sizes[numbers[first]], dtype=pl.UInt32)
        )
    # The columns, also where there is nothing.
    yield _frame(score_all(values, *stars(np.zeros(0, np.int32))), values, "exact", "")


def _alike(
    blocks: Mapping[str, Blocks],
    same: Sequence[Rows],
    values: Sequence[Attribute],
    least: int,
    workers: int,
    progress: Progress | None,
) -> tuple[list[pl.DataFrame], int]:
    found: list[pl.DataFrame] = []
    compared = 0
    total = sum(one.pairs for one in blocks.values())
    for size, pairs in _in_turn(
        lambda batch: (
            batch[1].size,
            _frame(score_above(values, batch[1], batch[2], least), values, "fuzzy", batch[0]),
        ),
        _batches(blocks, same),
        workers,
    ):
        if progress is not None:
            progress(ProgressEvent(_STAGE, compared, total))
        compared += size
        found.append(pairs)
    if progress is not None and total:
        progress(ProgressEvent(_STAGE, total, total))
    return found, compared


def _batches(blocks: Mapping[str, Blocks], same: Sequence[Rows]) -> Iterator[tuple[str, Rows, Rows]]:
    earlier = list(same)
    for key, one in blocks.items():
        for first, second in pairs_of(one, earlier, BATCH):
            yield key, first, second
        earlier.append(one.numbers)


def _in_turn(work: Callable[[_In], _Out], items: Iterable[_In], threads: int) -> Iterator[_Out]:
    """The results in the order of the items, of which no more are taken than there are threads, and one."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[_Out]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _frame(scored: Scored, values: Sequence[Attribute], kind: str, key: str) -> pl.DataFrame:
    def share(numbers: np.ndarray, *, of: np.ndarray | None = None) -> pl.Series:
        known = (numbers if of is None else of) >= 0
        return pl.Series(np.where(known, numbers / ONE, np.nan)).fill_nan(None)

    return pl.DataFrame(
        {
            "first": scored.first,
            "second": scored.second,
            "kind": pl.Series([kind], dtype=pl.String).new_from_index(0, scored.first.size),
            "key": pl.Series([key], dtype=pl.String).new_from_index(0, scored.first.size),
            "group_size": pl.Series([None], dtype=pl.UInt32).new_from_index(0, scored.first.size),
            "score": share(scored.score),
            "compared": pl.Series(np.round(scored.compared, 4), dtype=pl.Float64),
            **{f"{SIMILARITY}{one.name}": share(part) for one, part in zip(values, scored.parts, strict=True)},
        }
    )


def _named(pairs: pl.DataFrame, ids: pl.Series) -> pl.DataFrame:
    return pairs.select(
        ids.gather(pairs["first"]).alias("user_id"),
        ids.gather(pairs["second"]).alias("other_id"),
        pl.all().exclude("first", "second"),
    )


def _crowds(parted: Mapping[str, tuple[Rows, Rows]], blocks: Mapping[str, Blocks]) -> tuple[Crowd, ...]:
    crowds = [
        Crowd("exact", name, int(size))
        for name, (_, crowd) in parted.items()
        for size in np.bincount(crowd[crowd >= 0])
        if size
    ]
    crowds += [Crowd("block", key, size) for key, one in blocks.items() for size in one.large]
    return tuple(sorted(crowds, key=lambda one: (-one.contacts, one.kind, one.key)))
