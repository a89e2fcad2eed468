"""The sections of the configuration about what is computed per user: roles of event types, features, scores."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from engine.config_segments import RfmCell
from engine.config_values import Names, Section, Text
from engine.segments.rfm_cells import cell_problems


class Events(Section):
    """Which event types count, and which play a part in rates and RFM."""

    types: Names = ()
    """The event types to build features from; all that the data has when empty."""
    purchase: str | None = None
    """The event type that is a purchase (RFM, order values)."""
    send: str | None = None
    """The event type that is a message sent or delivered (denominator of the rates)."""
    open: str | None = None
    """The event type that is a message opened."""
    click: str | None = None
    """The event type that is a link clicked."""
    reply: str | None = None
    """The event type that is a message answered."""
    bounce: str | None = None
    """The event type that is a message that could not be delivered."""
    unsubscribe: str | None = None
    """The event type that is an opt-out."""
    complaint: str | None = None
    """The event type that is a message marked as spam."""
    page_view: str | None = None
    """The event type that is a page or screen seen (sessions, pages)."""
    cart_add: str | None = None
    """The event type that is an item put in the cart."""
    cart_remove: str | None = None
    """The event type that is an item taken out of the cart."""
    refund: str | None = None
    """The event type that is money given back, or an order cancelled."""
    coupon: str | None = None
    """The event type that is a coupon used."""
    comment: str | None = None
    """The event type that is a social comment."""
    share: str | None = None
    """The event type that is a social share."""
    optional: Names = ()
    """Roles whose event type the log need not have; roles that a preset gives are among them."""

    @model_validator(mode="after")
    def _optional_roles_exist(self) -> Self:
        roles = [name for name in type(self).model_fields if name not in {"types", "optional"}]
        unknown = [name for name in self.optional if name not in roles]
        if unknown:
            message = f"optional: no role {', '.join(map(repr, unknown))}; there are {', '.join(roles)}"
            raise ValueError(message)
        return self


_MOST_WINDOWS = 100


class DerivedType(Section):
    """Events of one type that satisfy a condition, counted as an event type of their own."""

    name: Text
    """Names the columns, as an event type does: `product_page` gives `product_page_count_30d`."""
    event: Text
    """The event type they are taken from."""
    where: Text
    """SQL condition over the canonical columns of the event, such as `category = 'shoes'`."""


class Features(Section):
    """What is computed per user."""

    windows: tuple[Annotated[int, Field(ge=1, le=36_500)], ...] = (7, 30, 90, 365)
    """Lengths in days of the half-open windows that end at `as_of`; at most 100."""
    families: Names = ()
    """Further families to compute and publish; `tamis features list` names them. Those that a rule or cluster names
    come by themselves."""
    events: tuple[DerivedType, ...] = ()
    """Event types made from others by a condition (product pages, a category)."""
    session_gap_minutes: int = Field(30, ge=1, le=1440)
    """A pause this long ends a session."""
    last_pages: int = Field(3, ge=1, le=20)
    """How many of the last pages `last_pages` tells."""
    reactivated_after_days: int = Field(90, ge=1, le=36_500)
    """A user who comes back after a pause this long is reactivated."""

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if not self.windows or list(self.windows) != sorted(set(self.windows)):
            message = f"windows must be different and ascending, got {list(self.windows)}"
            raise ValueError(message)
        if len(self.windows) > _MOST_WINDOWS:
            message = f"at most {_MOST_WINDOWS} windows can be used, got {len(self.windows)}"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _one_name_per_condition(self) -> Self:
        names: dict[tuple[str, str], str] = {}
        for entry in self.events:
            other = names.setdefault((entry.event, entry.where), entry.name)
            if other != entry.name:
                message = f"events: {other!r} and {entry.name!r} are the same events under two names; leave one out"
                raise ValueError(message)
        return self


class Accounts(Section):
    """Features of accounts: what all users of one company did together (B2B)."""

    column: Text
    """Contact attribute that tells a user's account, as of today: text or whole numbers; null and "" are none."""


class Engagement(Section):
    """Engagement score 0–100: weighted event counts in a window, on a logarithmic scale."""

    weights: dict[str, Annotated[int, Field(ge=0, le=1_000_000)]] = Field({})
    """Points per event of each type; every type counts 1 when empty."""
    window_days: int = Field(90, ge=1, le=36_500)
    """Length in days of the window that ends at `as_of`."""
    full_at: int | None = Field(None, ge=1)
    """The points that give 100; learned by `fit` (99th percentile of active users) when not given."""
    half_life_days: int | None = Field(None, ge=1, le=3650)
    """Age in days at which a point counts half, for `engagement_points_decayed`; no such column when not given."""
    full_open_rate: float = Field(0.5, gt=0, le=1)
    """The open rate that gives all 5 points of `engagement_open_points`."""
    full_click_rate: float | None = Field(None, gt=0, le=1)
    """The click rate that gives all 5 points of `engagement_click_points`; no such column when not given."""
    full_purchases: int = Field(4, ge=1)
    """Purchases in 182 days that give all 10 points of `engagement_purchase_points`."""
    full_amount: int | None = Field(None, ge=1, le=10**12)
    """Money spent in 182 days that gives all 10 points of `engagement_amount_points`; no such column when not given."""


RfmMethod = Literal["quantile", "rank", "r_rfm"]
Cut = Annotated[float, Field(ge=-(10**12), le=10**12)]

_MAP_BINS: dict[str, int] = {
    **dict.fromkeys(("rf_10", "rfm_11", "r_fm_11", "r_rfm"), 5),
    **dict.fromkeys(("quartile_6", "quartile_names"), 4),
}
"""The number of bins that the published maps are made of; a map of one's own takes any."""


class Rfm(Section):
    """Recency, frequency and monetary scores and the segment map over them."""

    recency: RfmMethod = "quantile"
    """`quantile`: type-7 quantile edges, equal values together; `rank`: equal sizes, ties by user id; `r_rfm`: as R."""
    frequency: RfmMethod = "quantile"
    """As `recency`, for the number of purchases."""
    monetary: RfmMethod = "quantile"
    """As `recency`, for the money spent."""
    frequency_unit: Literal["orders", "days"] = "orders"
    """Whether frequency counts orders or days with an order."""
    segment_map: Literal["rf_10", "rfm_11", "r_fm_11", "r_rfm", "quartile_6", "quartile_names", "own"] = "rf_10"
    """Which table turns scores into segment names: a published one, or `own`, the one in `map`."""
    bins: int | None = Field(None, ge=2, le=9)
    """Scores are 1 to so many; what the map needs when not given: 4 for those by quartiles, else 5."""
    cuts: dict[Literal["recency", "frequency", "monetary"], tuple[Cut, ...]] = Field({})
    """Cut points of one's own: days, orders, money in major units; ascending, one less than `bins`. A value at a cut
    point belongs to the lower bin; dimensions that are not given are learnt by their method."""
    map: tuple[RfmCell, ...] = ()
    """A map of one's own, for `segment_map = "own"`; cells must not overlap."""
    others: Text | None = None
    """Name of what a map of one's own leaves open."""

    @property
    def bin_count(self) -> int:
        """Scores are 1 to so many."""
        return self.bins or _MAP_BINS.get(self.segment_map, 5)

    @model_validator(mode="after")
    def _fits_the_map(self) -> Self:
        needed = _MAP_BINS.get(self.segment_map)
        problems = []
        if needed is not None and self.bin_count != needed:
            problems.append(f"segment_map {self.segment_map!r} is made of scores 1 to {needed}, got bins = {self.bins}")
        if self.segment_map == "own":
            problems += cell_problems(self.map, self.bin_count, self.others)
        elif self.map or self.others is not None:
            problems.append(f"map and others are keys of segment_map = 'own', got segment_map = {self.segment_map!r}")
        for dimension, cuts in self.cuts.items():
            if len(cuts) != self.bin_count - 1 or list(cuts) != sorted(set(cuts)):
                problems.append(
                    f"cuts.{dimension}: expected {self.bin_count - 1} ascending numbers for {self.bin_count} bins, "
                    f"got {list(cuts)}"
                )
            elif dimension != "monetary" and any(cut != int(cut) or cut < 0 for cut in cuts):
                problems.append(f"cuts.{dimension}: expected whole numbers of at least 0, got {list(cuts)}")
        if problems:
            raise ValueError("; ".join(problems))
        return self
