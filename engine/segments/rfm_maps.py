"""The maps from RFM scores to segment names, each compiled to one table of all codes 100 r + 10 f + m.

Scores 1 to 5, 125 codes:

* `rf_10`: 10 segments by recency and frequency; the grid that circulates as regular expressions over two digits.
* `rfm_11`: 11 segments as lists of RFM codes.
* `r_fm_11`: 11 segments on a grid of recency and the mean of frequency and monetary score; a half is rounded up.
* `r_rfm`: 10 segments as ranges of all three scores, from the vignette of the R package rfm 0.3.0; the first that fits
  wins and what none fits is `Others`.

Scores 1 to 4 (quartiles), 64 codes:

* `quartile_6`: the six segments of the Databricks segmentation accelerator as ranges; the first that fits wins. Two of
  its rules are changed. `New Customers` have a monetary score of 2 at most: who has bought once, lately and for much is
  not put among them. `Churned` have a recency score of 1, and what no range fits is `Others`: there whoever fits
  nothing counts as churned, buyers of last week among them.
* `quartile_names`: 5 segments as lists of RFM codes, the defaults of `rfm_segments` of PyMC-Marketing; the other codes
  are `Other`.

`own` is a map of the configuration. Names are spelled as published, so that results can be compared with their sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Literal, NamedTuple

import polars as pl

from engine.config import Rfm
from engine.segments.rfm_cells import NO_PURCHASE, all_codes, cell_table

PublishedMap = Literal["rf_10", "rfm_11", "r_fm_11", "r_rfm", "quartile_6", "quartile_names"]
SegmentMap = Literal[PublishedMap, "own"]

OTHERS = "Others"

_ANY = (1, 9)


class _Box(NamedTuple):
    """Inclusive ranges of scores."""

    name: str
    r: tuple[int, int]
    f: tuple[int, int]
    m: tuple[int, int] = _ANY


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


_QUARTILE_6 = (
    _Box("Champions", (4, 4), (4, 4), (4, 4)),
    _Box("Loyal", (3, 4), (3, 4), (3, 4)),
    _Box("New Customers", (3, 4), (1, 1), (1, 2)),
    _Box("Regular", (2, 4), (1, 2), (1, 2)),
    _Box("At Risk", (1, 2), (2, 4), (2, 4)),
    _Box("Churned", (1, 1), (1, 4), (1, 4)),
)

_QUARTILE_NAMES = {
    "Premium Customer": "333 334 343 344 433 434 443 444",
    "Repeat Customer": "143 232 233 234 243 244 332",
    "Top Spender": "124 133 134 144 224 313 314 323 324 413 414 423 424",
    "At Risk Customer": "122 123 132 212 214 222 223 312 322 412 422",
    "Inactive Customer": "111 112 113 114 211 311 411",
    "Other": "121 131 141 142 213 221 231 241 242 321 331 341 342 421 431 432 441 442",
}


def published_table(segment_map: PublishedMap) -> dict[int, str]:
    """The segment of each code of a published map, ascending; every code of its scores is there."""
    match segment_map:
        case "rf_10":
            return _by_ranges(_RF_10, 5)
        case "r_rfm":
            return _by_ranges(_R_RFM, 5)
        case "quartile_6":
            return _by_ranges(_QUARTILE_6, 4)
        case "rfm_11":
            return dict(sorted(_by_code(_RFM_11).items()))
        case "quartile_names":
            return dict(sorted(_by_code(_QUARTILE_NAMES).items()))
        case "r_fm_11":
            by_cell = _by_code(_R_FM_11)
            triples = product(range(1, 6), repeat=3)
            return {100 * r + 10 * f + m: by_cell[10 * r + (f + m + 1) // 2] for r, f, m in triples}


def segment_table(rfm: Rfm) -> dict[int, str]:
    """The segment of each code of the configured map, ascending."""
    if rfm.segment_map == "own":
        return cell_table(rfm.map, rfm.bin_count, rfm.others)
    return published_table(rfm.segment_map)


def segment_names(table: Mapping[int, str]) -> tuple[str, ...]:
    """Every segment a map can give, sorted, and `no_purchase` at the end."""
    return (*sorted(set(table.values())), NO_PURCHASE)


def segment_of(table: Mapping[int, str], r: pl.Expr, f: pl.Expr, m: pl.Expr) -> pl.Expr:
    """The segment's name (String, never null) of the scores of a map; `no_purchase` where a score is null."""
    code = 100 * r.cast(pl.Int16) + 10 * f.cast(pl.Int16) + m.cast(pl.Int16)
    name = code.replace_strict(list(table), list(table.values()), return_dtype=pl.String)
    return pl.when(code.is_null()).then(pl.lit(NO_PURCHASE)).otherwise(name)


def _by_ranges(ordered: tuple[_Box, ...], bins: int) -> dict[int, str]:
    return {code: _first_fit(ordered, code // 100, code // 10 % 10, code % 10) for code in all_codes(bins)}


def _first_fit(boxes: tuple[_Box, ...], r: int, f: int, m: int) -> str:
    for box in boxes:
        if all(low <= value <= high for value, (low, high) in ((r, box.r), (f, box.f), (m, box.m))):
            return box.name
    return OTHERS


def _by_code(codes: dict[str, str]) -> dict[int, str]:
    return {int(code): name for name, listed in codes.items() for code in listed.split()}
