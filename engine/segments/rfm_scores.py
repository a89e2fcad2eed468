"""RFM scores: the edges between the bins are learned once from all buyers, then every user is scored alone.

All methods are reduced to integers, so that a score never depends on floating point: an edge is the largest value
that still belongs to the lower of two neighbouring bins, and a value's bin is 1 plus the number of edges below it.

* `quantile`: type-7 quantiles (Hyndman and Fan 1996), of five bins at 20, 40, 60 and 80 %, bins closed on the right, as
  `pandas.qcut`. Equal values always share a score; where one value fills more than a bin's share of the buyers, edges
  may coincide and the scores between them are not given (frequency 1 in most shops).
* `rank`: bins whose sizes differ by at most one, in the order of (value, user id), as
  `pandas.qcut(values.rank(method="first"), bins)` on customers sorted by id. Equal values may get different scores.
* `r_rfm`: type-7 quantiles plus one (one major unit of money), bins closed on the left, as the R package rfm 0.3.0.
* `cuts`: cut points of the configuration; nothing is learned. A value at a cut point belongs to the lower bin.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Final, Literal, TypeVar

import polars as pl
from pydantic import TypeAdapter, ValidationError

from engine.config import Rfm, RfmMethod
from engine.errors import DataError, IntegrityError
from engine.features.build import MONETARY_MINOR

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)

_LEAST_EDGES, _MOST_EDGES = 1, 8
_DIMENSIONS: Final[dict[Literal["recency", "frequency", "monetary"], str]] = {
    "recency": "recency_days",
    "frequency": "frequency",
    "monetary": "monetary_minor",
}


@dataclass(frozen=True)
class BinEdges:
    """The edges between the bins of one dimension: one less than there are bins."""

    method: RfmMethod | Literal["cuts"]
    upper: tuple[int, ...]
    """Largest value of each bin but the highest, ascending; days, orders or minor units."""
    users: tuple[int | str, ...] = ()
    """`rank` only: the last user, by id, that holds the edge's value and still belongs to the lower bin."""

    def __post_init__(self) -> None:
        users = len(self.upper) if self.method == "rank" else 0
        ascending = list(self.upper) == sorted(self.upper)
        if not (_LEAST_EDGES <= len(self.upper) <= _MOST_EDGES and ascending and len(self.users) == users):
            message = f"1 to 8 ascending edges, and as many users for method 'rank' alone, got {self}"
            raise ValueError(message)


@dataclass(frozen=True)
class RfmEdges:
    """The edges of all three dimensions; part of the bundle."""

    recency: BinEdges
    frequency: BinEdges
    monetary: BinEdges

    def __post_init__(self) -> None:
        if len({len(edges.upper) for edges in (self.recency, self.frequency, self.monetary)}) > 1:
            message = f"expected recency, frequency and monetary value with equally many edges, got {self}"
            raise ValueError(message)

    @property
    def bins(self) -> int:
        """Scores are 1 to so many."""
        return len(self.recency.upper) + 1

    def to_json(self) -> str:
        """One JSON object; equal edges give equal text."""
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> RfmEdges:
        """The edges that `to_json` wrote.

        Raises:
            IntegrityError: The text is not what `to_json` writes.
        """
        try:
            return TypeAdapter(cls).validate_json(text, strict=True)
        except ValidationError as error:
            details = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            message = f"The RFM edges of the bundle cannot be read: {details}"
            hint = "Run `tamis fit` to write a new bundle."
            raise IntegrityError(message, code="bundle-rfm-edges", hint=hint) from error


def rfm_columns(frame: pl.DataFrame) -> pl.DataFrame:
    """The columns of a feature table that `learn_edges` and `score` read, under the names they have there."""
    return frame.select(
        "user_id", recency_days="rfm_recency_days", frequency="rfm_frequency", monetary_minor=MONETARY_MINOR
    )


def learn_edges(buyers: pl.DataFrame, rfm: Rfm, currency_digits: int) -> RfmEdges:
    """The edges that cut all buyers into the bins of each dimension.

    Args:
        buyers: One row per user, key `user_id`; Int64 `recency_days` (days since the last purchase), `frequency` and
            `monetary_minor` (minor units). Rows without recency have never bought and are left out; the order of rows
            does not matter.
        rfm: The number of bins, and the method or the cut points of each dimension.
        currency_digits: Decimals of the minor unit: the "plus one" of `r_rfm` is one major unit.

    Raises:
        DataError: Nobody has bought, and not every dimension has cut points.
    """
    buyers = buyers.filter(pl.col("recency_days").is_not_null())
    if buyers.is_empty() and len(rfm.cuts) < len(_DIMENSIONS):
        message = "RFM scores are learned from users with a purchase before as_of; there is none."
        hint = "Check `events.purchase` and the date, fit at a later date, or give all cut points in `rfm.cuts`."
        raise DataError(message, code="rfm-no-buyers", hint=hint)
    one = {"recency": 1, "frequency": 1, "monetary": 10**currency_digits}
    edges = {}
    for dimension, column in _DIMENSIONS.items():
        cuts = rfm.cuts.get(dimension)
        if cuts is None:
            edges[dimension] = _edges(buyers, column, getattr(rfm, dimension), rfm.bin_count, one[dimension])
        else:
            edges[dimension] = BinEdges("cuts", tuple(_largest_up_to(cut, one[dimension]) for cut in cuts))
    return RfmEdges(**edges)


def score(frame: Frame, edges: RfmEdges) -> Frame:
    """`frame` with `r_score`, `f_score` and `m_score`: Int8, 1 to `edges.bins`, the most recent, frequent and spending.

    Row by row, so any part of the users can be scored alone. Users without a purchase (`recency_days` is null) get
    null in all three.

    Args:
        frame: One row per user with the columns of `learn_edges`.
        edges: What `learn_edges` gave.

    Raises:
        IntegrityError: `user_id` is text and the edges were learned with integers, or the reverse.
    """
    ids = edges.recency.users + edges.frequency.users + edges.monetary.users
    dtype = frame.collect_schema()["user_id"]
    if any(isinstance(user, str) != (dtype == pl.String) for user in ids):
        message = f"The bundle was learned with {type(ids[0]).__name__} user ids; the events have {dtype}."
        raise IntegrityError(message, code="bundle-user-id-type", hint="Run `tamis fit` on these events.")
    bought = pl.col("recency_days").is_not_null()
    scores = {
        "r_score": pl.lit(edges.bins + 1, pl.Int8) - _bin("recency_days", edges.recency),
        "f_score": _bin("frequency", edges.frequency),
        "m_score": _bin("monetary_minor", edges.monetary),
    }
    return frame.with_columns(pl.when(bought).then(expr).alias(name) for name, expr in scores.items())


def _bin(column: str, edges: BinEdges) -> pl.Expr:
    value = pl.col(column)
    number = pl.lit(1, pl.Int8)
    for index, upper in enumerate(edges.upper):
        edge = pl.lit(upper, pl.Int64)
        above = value > edge
        if edges.users:
            above |= (value == edge) & (pl.col("user_id") > edges.users[index])
        number = number + above.cast(pl.Int8)
    return number


def _largest_up_to(cut: float, one: int) -> int:
    # The decimal that was written, not the binary number next to it: 0.29 is 29 cents.
    return math.floor(Decimal(repr(cut)) * one)


def _edges(buyers: pl.DataFrame, column: str, method: RfmMethod, bins: int, one: int) -> BinEdges:
    values = buyers[column].sort()
    match method:
        case "rank":
            return _rank_edges(buyers, column, values, bins)
        case "quantile":
            return BinEdges(method, tuple(_quantile_parts(values, k, bins) // bins for k in range(1, bins)))
        case "r_rfm":
            # The largest integer below the quantile plus one; negated twice, // rounds up.
            plus_one = (_quantile_parts(values, k, bins) + bins * one for k in range(1, bins))
            return BinEdges(method, tuple(-(-parts // bins) - 1 for parts in plus_one))


def _quantile_parts(values: pl.Series, k: int, bins: int) -> int:
    # `bins` times the type-7 quantile at k/bins is an integer, so nothing is rounded.
    position, rest = divmod((len(values) - 1) * k, bins)
    low = int(values[position])
    high = int(values[position + 1]) if rest else low
    return bins * low + rest * (high - low)


def _rank_edges(buyers: pl.DataFrame, column: str, values: pl.Series, bins: int) -> BinEdges:
    upper, users = [], []
    for k in range(1, bins):
        position = (len(values) - 1) * k // bins
        value = int(values[position])
        first_of_ties = int(values.search_sorted(value, side="left"))
        ties = buyers.filter(pl.col(column) == value)["user_id"].sort()
        upper.append(value)
        users.append(ties[position - first_of_ties])
    return BinEdges("rank", tuple(upper), tuple(users))
