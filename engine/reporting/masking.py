"""Small cells: numbers of so few people that one of them might be recognised are not shown, nor can be worked out.

A number below `min_cell` is hidden, and with it others that would give it away: whoever knows the total of a column,
and all numbers but one, knows that one too (complementary suppression; A. Hundepool et al., "Statistical Disclosure
Control", Wiley 2012, chapter 4). Of a matrix whose row and column totals are known, a hidden number is safe when
another matrix with the same totals and the same shown numbers exists. That is so exactly when whole people can be moved
around a cycle of hidden cells which passes through it (the residual graph of network flows).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Mapping, Sequence
from heapq import heappop, heappush
from typing import Final, TypeAlias

import polars as pl

OTHERS: Final = "(others)"
"""The name of what is merged; `engine.reporting.facts.Facts.names` has its words."""

Cell: TypeAlias = tuple[str, str]
"""Row and column."""

_Node: TypeAlias = tuple[str, str]
_HUB: Final[_Node] = ("hub", "")


def hidden_rows(
    users: Sequence[int | None], min_cell: int, groups: Sequence[Hashable] | None = None, *, totals: bool = True
) -> list[bool]:
    """Which numbers of people must not be shown; 0 is nobody and is shown.

    Args:
        users: People per row; None where nothing is known, which is not shown anyway.
        min_cell: The smallest number that is shown.
        groups: A label per row; the total of each group is known. One group when not given.
        totals: Whether totals are known at all; if not, only small numbers are hidden.
    """
    hidden = [count is not None and 0 < count < min_cell for count in users]
    if not totals:
        return hidden
    places: defaultdict[Hashable, list[int]] = defaultdict(list)
    for place in range(len(users)):
        places[None if groups is None else groups[place]].append(place)
    for members in places.values():
        _hide_more(users, hidden, members, min_cell)
    return hidden


def _hide_more(users: Sequence[int | None], hidden: list[bool], members: Sequence[int], min_cell: int) -> None:
    shown = sorted(
        (place for place in members if users[place] and not hidden[place]), key=lambda place: (users[place] or 0, place)
    )
    secret = [users[place] or 0 for place in members if hidden[place]]
    for place in shown:
        # Nobody hides who is nobody: as many people as hidden rows would be one in each.
        if not secret or (len(secret) > 1 and sum(secret) >= min_cell and sum(secret) > len(secret)):
            return
        hidden[place] = True
        secret.append(users[place] or 0)


def without(frame: pl.DataFrame, hidden: Sequence[bool], columns: Collection[str]) -> pl.DataFrame:
    """A table with null in some columns of the hidden rows."""
    gone = pl.Series("__hidden", list(hidden), pl.Boolean)
    return frame.with_columns(
        pl.when(gone).then(None).otherwise(pl.col(name)).alias(name) for name in frame.columns if name in columns
    )


def merge_small(
    frame: pl.DataFrame, name: str, users: str, sums: Collection[str], *, min_cell: int, most: int
) -> pl.DataFrame:
    """The rows of many people as they are, and one of the name `OTHERS` with the sums of all others.

    Rows of nobody are left out. The merged row is of at least `min_cell` people: with too few, the next smallest row is
    merged too; when all rows together are too few there is none left.

    Args:
        frame: One row per name.
        name: Its column of names (text).
        users: Its column of people.
        sums: Further columns that can be added up; all others of the merged row are null.
        min_cell: The smallest number of people that is shown.
        most: Rows that are shown at most, the merged one included; those of the most people.
    """
    rows = frame.filter(pl.col(users) > 0)
    if rows.is_empty() or rows[users].sum() < min_cell:
        return frame.clear()
    order = sorted(range(rows.height), key=lambda place: (-rows[users][place], str(rows[name][place])))
    kept = [place for place in order if rows[users][place] >= min_cell]
    if len(kept) == rows.height <= most:
        return rows
    kept = kept[: most - 1]
    while kept and (rows.height - len(kept) < 2 or _users(rows, users, kept) < min_cell):
        kept.pop()
    rest = rows[[place for place in order if place not in set(kept)]]
    merged = rest.select(
        pl.lit(OTHERS).alias(column)
        if column == name
        else (pl.col(column).sum() if column in {users, *sums} else pl.lit(None, rows.schema[column])).alias(column)
        for column in rows.columns
    )
    return pl.concat([rows[sorted(kept)], merged.cast(rows.schema)])


def _users(rows: pl.DataFrame, users: str, kept: Sequence[int]) -> int:
    counts: list[int] = rows[users].to_list()
    return sum(counts) - sum(counts[place] for place in kept)


def hidden_cells(
    cells: Mapping[Cell, int],
    min_cell: int,
    *,
    open_rows: Collection[str] = (),
    open_columns: Collection[str] = (),
    also: Collection[Cell] = (),
) -> set[Cell]:
    """Which cells of a matrix must not be shown when the totals of its rows and columns are known.

    A hidden cell looks like a cell of nobody, so those count as hidden too. Where not even hiding a whole row and
    column helps, the totals themselves are of so few people that they must not be shown either.

    Args:
        cells: People by row and column, with 0 for all cells that there could be.
        min_cell: The smallest number that is shown.
        open_rows: Rows whose total is not known.
        open_columns: Columns whose total is not known.
        also: Cells that must not be worked out either, whatever is in them.
    """
    hidden = {cell for cell, count in cells.items() if count < min_cell} | set(also)
    for cell in sorted(cell for cell in hidden if cells[cell] > 0):
        hidden.update(_cycle(cell, cells, hidden, open_rows, open_columns))
    return hidden


def _cycle(
    cell: Cell,
    cells: Mapping[Cell, int],
    hidden: Collection[Cell],
    open_rows: Collection[str],
    open_columns: Collection[str],
) -> set[Cell]:
    """Cells of the fewest people which, hidden too, let the hidden cell have another value; all where nothing does."""
    steps: defaultdict[_Node, list[tuple[int, _Node, Cell | None]]] = defaultdict(list)
    for place, count in cells.items():
        if place != cell:
            row, column = ("row", place[0]), ("column", place[1])
            cost = 0 if place in hidden else count
            steps[row].append((cost, column, place))
            if count > 0:
                steps[column].append((cost, row, place))
    for node in [*(("row", row) for row in open_rows), *(("column", column) for column in open_columns)]:
        steps[node].append((0, _HUB, None))
        steps[_HUB].append((0, node, None))
    start, end = ("row", cell[0]), ("column", cell[1])
    # One more person here takes one away elsewhere in the column, …, and in the row; one fewer the other way round.
    found = [path for path in (_cheapest(steps, end, start), _cheapest(steps, start, end)) if path is not None]
    return min(found, key=lambda path: (path[0], sorted(path[1])))[1] if found else set(cells)


def _cheapest(
    steps: Mapping[_Node, Sequence[tuple[int, _Node, Cell | None]]], start: _Node, end: _Node
) -> tuple[int, set[Cell]] | None:
    """The cheapest path (Dijkstra): its cost and its cells."""
    waiting: list[tuple[int, _Node, tuple[Cell, ...]]] = [(0, start, ())]
    seen: set[_Node] = set()
    while waiting:
        spent, node, cells = heappop(waiting)
        if node == end:
            return spent, set(cells)
        if node not in seen:
            seen.add(node)
            for cost, other, cell in steps.get(node, ()):
                heappush(waiting, (spent + cost, other, cells if cell is None else (*cells, cell)))
    return None
