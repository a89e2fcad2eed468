"""The published maps from RFM scores to segment names, each compiled to one table of all 125 score triples.

* `rf_10`: 10 segments by recency and frequency; the grid that circulates as regular expressions over two digits.
* `rfm_11`: 11 segments as lists of RFM codes.
* `r_fm_11`: 11 segments on a grid of recency and the mean of frequency and monetary score; a half is rounded up.
* `r_rfm`: 10 segments as ranges of all three scores, from the vignette of the R package rfm 0.3.0; the first that fits
  wins and what none fits is `Others`.

Names are spelled as published, so that results can be compared with their sources.
"""

from __future__ import annotations

from itertools import product
from typing import Literal, NamedTuple

import polars as pl

SegmentMap = Literal["rf_10", "rfm_11", "r_fm_11", "r_rfm"]

NO_PURCHASE = "no_purchase"
"""Segment of users who have never bought."""

OTHERS = "Others"

_ALL = (1, 5)


class _Box(NamedTuple):
    """Inclusive ranges of scores."""

    name: str
    r: tuple[int, int]
    f: tuple[int, int]
    m: tuple[int, int] = _ALL


_RF_10 = (
    _Box("hibernating", (1, 2), (1, 2)),
    _Box("at_Risk", (1, 2), (3, 4)),
    _Box("cant_loose", (1, 2), (5, 5)),
    _Box("about_to_sleep", (3, 3), (1, 2)),
    _Box("need_attention", (3, 3), (3, 3)),
    _Box("loyal_customers", (3, 4), (4, 5)),
    _Box("promising", (4, 4), (1, 1)),
    _Box("new_customers", (5, 5), (1, 1)),
    _Box("potential_loyalists", (4, 5), (2, 3)),
    _Box("champions", (5, 5), (4, 5)),
)

_R_RFM = (
    _Box("Champions", (5, 5), (5, 5), (5, 5)),
    _Box("Potential Loyalist", (3, 5), (3, 5), (2, 5)),
    _Box("Loyal Customers", (2, 4), (2, 4), (2, 4)),
    _Box("Promising", (3, 4), (1, 3), (3, 5)),
    _Box("New Customers", (4, 5), (1, 3), (1, 5)),
    _Box("Can't Lose Them", (1, 2), (3, 4), (4, 5)),
    _Box("At Risk", (1, 2), (2, 5), (4, 5)),
    _Box("Need Attention", (1, 3), (3, 5), (3, 5)),
    _Box("About To Sleep", (2, 3), (1, 3), (1, 4)),
    _Box("Lost", (1, 1), (1, 5), (1, 5)),
)

_RFM_11 = {
    "Champions": "555 554 544 545 454 455 445",
    "Loyal": "543 444 435 355 354 345 344 335",
    "Potential Loyalist": (
        "553 551 552 541 542 533 532 531 452 451 442 441 431 453 433 432 423 353 352 351 342 341 333 323"
    ),
    "New Customers": "512 511 422 421 412 411 311",
    "Promising": "525 524 523 522 521 515 514 513 425 424 413 414 415 315 314 313",
    "Need Attention": "535 534 443 434 343 334 325 324",
    "About To Sleep": "331 321 312 221 213 231 241 251",
    "At Risk": "255 254 245 244 253 252 243 242 235 234 225 224 153 152 145 143 142 135 134 133 125 124",
    "Cannot Lose Them": "155 154 144 214 215 115 114 113",
    "Hibernating customers": "332 322 233 232 223 222 132 123 122 212 211",
    "Lost customers": "111 112 121 131 141 151",
}

_R_FM_11 = {
    "Champions": "55 54 45",
    "Potential Loyalists": "52 42 33 43",
    "Loyal Customers": "53 44 35 34",
    "Recent Customers": "51",
    "Promising": "41 31",
    "Customers Needing Attention": "32 23 22",
    "About to Sleep": "21",
    "At Risk": "25 24 13",
    "Cant Lose Them": "15 14",
    "Hibernating": "12",
    "Lost": "11",
}


def segment_table(segment_map: SegmentMap) -> dict[int, str]:
    """The segment of each code 100 r + 10 f + m; all 125 codes, ascending."""
    triples = product(range(1, 6), repeat=3)
    match segment_map:
        case "rf_10":
            return {100 * r + 10 * f + m: _first_fit(_RF_10, r, f, m) for r, f, m in triples}
        case "r_rfm":
            return {100 * r + 10 * f + m: _first_fit(_R_RFM, r, f, m) for r, f, m in triples}
        case "rfm_11":
            return dict(sorted(_by_code(_RFM_11).items()))
        case "r_fm_11":
            by_cell = _by_code(_R_FM_11)
            return {100 * r + 10 * f + m: by_cell[10 * r + (f + m + 1) // 2] for r, f, m in triples}


def segment_names(segment_map: SegmentMap) -> tuple[str, ...]:
    """Every segment the map can give, sorted, and `no_purchase` at the end."""
    return (*sorted(set(segment_table(segment_map).values())), NO_PURCHASE)


def segment_of(segment_map: SegmentMap, r: pl.Expr, f: pl.Expr, m: pl.Expr) -> pl.Expr:
    """The segment's name (String, never null) of scores 1 to 5; `no_purchase` where a score is null."""
    table = segment_table(segment_map)
    code = 100 * r.cast(pl.Int16) + 10 * f.cast(pl.Int16) + m.cast(pl.Int16)
    name = code.replace_strict(list(table), list(table.values()), return_dtype=pl.String)
    return pl.when(code.is_null()).then(pl.lit(NO_PURCHASE)).otherwise(name)


def _first_fit(boxes: tuple[_Box, ...], r: int, f: int, m: int) -> str:
    for box in boxes:
        if all(low <= value <= high for value, (low, high) in ((r, box.r), (f, box.f), (m, box.m))):
            return box.name
    return OTHERS


def _by_code(codes: dict[str, str]) -> dict[int, str]:
    return {int(code): name for name, listed in codes.items() for code in listed.split()}
