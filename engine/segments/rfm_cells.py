"""Maps of one's own from RFM scores to segments: ranges of scores that must not overlap and leave nothing unnamed.

A code is the number 100 r + 10 f + m of three scores from 1 to `bins`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterator, Sequence
from itertools import combinations, product

from engine.config_segments import RfmCell

NO_PURCHASE = "no_purchase"
"""Segment of users who have never bought."""

Range = tuple[int, int]
Ranges = tuple[Range, Range, Range]
"""Inclusive ranges of the scores r, f and m."""

_MOST = 20
"""Problems of one kind that are told; of the others the number."""


def cell_problems(cells: Sequence[RfmCell], bins: int, others: str | None) -> tuple[str, ...]:
    """All that keeps cells from being a map: ranges outside the scores, overlaps, codes that none has, names.

    Args:
        cells: The map.
        bins: Scores are 1 to so many.
        others: Name of what the cells leave open; None when they must leave nothing open.
    """
    problems = list(_name_problems([*(cell.name for cell in cells), *(() if others is None else (others,))]))
    outside = [
        f"{_shown(cell)}: {letter} {low}–{high} must ascend and lie in 1–{bins}"
        for cell in cells
        for letter, (low, high) in zip("rfm", _ranges(cell, bins), strict=True)
        if not 1 <= low <= high <= bins
    ]
    if outside:
        return (*problems, *_capped(outside))
    overlaps = [
        f"{describe(shared, bins)} is both of {_shown(one)} and of {_shown(other)}"
        for one, other in combinations(cells, 2)
        if (shared := _shared(_ranges(one, bins), _ranges(other, bins))) is not None
    ]
    problems += _capped(overlaps)
    if others is None:
        open_codes = set(all_codes(bins)) - {code for cell in cells for code in _codes(_ranges(cell, bins))}
        left = [describe(box, bins) for box in boxes(open_codes)]
        problems += [f"no cell has {line}" for line in _capped(left)]
        if left:
            problems.append("name what is left open in others")
    return tuple(problems)


def cell_table(cells: Sequence[RfmCell], bins: int, others: str | None) -> dict[int, str]:
    """The segment (NFC) of every code, ascending, of cells in which `cell_problems` finds nothing."""
    named = {code: cell.name for cell in cells for code in _codes(_ranges(cell, bins))}
    return {code: unicodedata.normalize("NFC", named.get(code, others or "")) for code in all_codes(bins)}


def all_codes(bins: int) -> tuple[int, ...]:
    """Every code of scores 1 to `bins`, ascending."""
    return tuple(100 * r + 10 * f + m for r, f, m in product(range(1, bins + 1), repeat=3))


def boxes(codes: Collection[int]) -> tuple[Ranges, ...]:
    """Codes as ranges that do not overlap, sorted: neighbours in m, then in f, then in r are put together."""
    cells: set[Ranges] = {((r, r), (f, f), (m, m)) for r, f, m in (map(int, str(code)) for code in codes)}
    for axis in (2, 1, 0):
        cells = set(_joined(cells, axis))
    return tuple(sorted(cells))


def describe(ranges: Ranges, bins: int) -> str:
    """Ranges as people write them: `r 1–2, f 5, m any`."""
    parts = []
    for letter, (low, high) in zip("rfm", ranges, strict=True):
        several = "any" if (low, high) == (1, bins) else f"{low}–{high}"
        parts.append(f"{letter} {low if low == high else several}")
    return ", ".join(parts)


def _joined(cells: Collection[Ranges], axis: int) -> Iterator[Ranges]:
    def others(cell: Ranges) -> tuple[Range, ...]:
        return (*cell[:axis], *cell[axis + 1 :])

    run: Ranges | None = None
    for cell in sorted(cells, key=lambda cell: (others(cell), cell[axis])):
        if run is not None and others(run) == others(cell) and run[axis][1] + 1 == cell[axis][0]:
            parts = list(run)
            parts[axis] = (run[axis][0], cell[axis][1])
            run = (parts[0], parts[1], parts[2])
            continue
        if run is not None:
            yield run
        run = cell
    if run is not None:
        yield run


def _name_problems(names: Sequence[str]) -> Iterator[str]:
    known = {_key(NO_PURCHASE): NO_PURCHASE}
    for name in names:
        if not name.strip():
            yield f"{name!r} would be read as no name at all"
        other = known.setdefault(_key(name), name)
        if other == NO_PURCHASE:
            yield f"{name!r} is the segment of those who have never bought"
        elif unicodedata.normalize("NFC", other) != unicodedata.normalize("NFC", name):
            yield f"{name!r} and {other!r} differ by upper and lower case alone"


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _ranges(cell: RfmCell, bins: int) -> Ranges:
    any_score = (1, bins)
    return cell.r or any_score, cell.f or any_score, cell.m or any_score


def _shown(cell: RfmCell) -> str:
    given = {letter: ranges for letter, ranges in (("r", cell.r), ("f", cell.f), ("m", cell.m)) if ranges is not None}
    ranges = ", ".join(f"{letter} {low}–{high}" for letter, (low, high) in given.items())
    return f"{cell.name!r} ({ranges or 'any scores'})"


def _shared(one: Ranges, other: Ranges) -> Ranges | None:
    pairs = [(max(a[0], b[0]), min(a[1], b[1])) for a, b in zip(one, other, strict=True)]
    return (pairs[0], pairs[1], pairs[2]) if all(low <= high for low, high in pairs) else None


def _codes(ranges: Ranges) -> Iterator[int]:
    (r_low, r_high), (f_low, f_high), (m_low, m_high) = ranges
    for r, f, m in product(range(r_low, r_high + 1), range(f_low, f_high + 1), range(m_low, m_high + 1)):
        yield 100 * r + 10 * f + m


def _capped(lines: Sequence[str]) -> list[str]:
    more = len(lines) - _MOST
    return [*lines[:_MOST], *([f"and {more} more"] if more > 0 else [])]
