"""The configuration: a frozen, typed model of one TOML file.

Reading the file, overriding single keys and explaining mistakes is done in `engine.config_file`; nothing here touches
the disk. Relative paths in the model are already resolved against the folder of the file they were read from.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        message = f"an IANA time zone such as 'Europe/Paris' or 'UTC', got {name!r}"
        raise ValueError(message) from error
    return name


def _different(names: tuple[str, ...]) -> tuple[str, ...]:
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        message = f"expected each name once, got {', '.join(map(repr, repeated))} more than once"
        raise ValueError(message)
    return names


TimeZone = Annotated[str, AfterValidator(_known_zone)]
Text = Annotated[str, Field(min_length=1)]
Names = Annotated[tuple[str, ...], AfterValidator(_different)]
Paths = Text | Annotated[tuple[Text, ...], Field(min_length=1)]

_MOST_WINDOWS = 100


class Section(BaseModel):
    """Base of every section: frozen, and a key that does not exist is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class Sql(Section):
    """A column computed by a SQL expression over the columns of the source."""

    sql: Text
    """Polars SQL, such as `Quantity * UnitPrice`."""


class Value(Section):
    """A column with one constant value."""

    value: str | int | float
    """The constant, the same in every row."""


class Columns(Section):
    """Where each canonical column comes from: a column of the file by its name, `{ sql = "…" }`, or `{ value = … }`."""

    user_id: Text | Sql
    """Whose event it is; integer or string, kept as it is through to the output."""
    event_type: Text | Sql | Value
    """What happened: `purchase`, `email_open`, …"""
    event_time: Text | Sql
    """When; a timestamp, a date, or an integer with `time_unit`."""
    event_id: Text | Sql | None = None
    """Identity of the event or of the order; rows that repeat it are handled by `same_id`."""
    amount: Text | Sql | Value | None = None
    """Money in major units (12.50)."""
    quantity: Text | Sql | Value | None = None
    """Number of items; integer."""
    duration_ms: Text | Sql | Value | None = None
    """Time spent, in milliseconds; integer."""
    channel: Text | Sql | Value | None = None
    """Where it happened or went out: `email`, `web`, `store`, …"""
    campaign_id: Text | Sql | Value | None = None
    """The campaign the message or event belongs to."""
    item_id: Text | Sql | Value | None = None
    """The article bought, viewed or put in a cart."""
    category: Text | Sql | Value | None = None
    """The article's category."""


class Source(Section):
    """One event log: files of one schema and how their columns map to the canonical ones."""

    name: Text
    """Shown in counts, rejects and messages."""
    path: Paths
    """Files, globs or folders of Parquet files, relative to the configuration file."""
    columns: Columns
    """How the columns of the files map to the canonical ones."""
    where: str | None = None
    """SQL condition over the source's columns; rows that do not satisfy it are left out and counted."""
    timezone: TimeZone = "UTC"
    """Zone of timestamps that carry none."""
    time_unit: Literal["s", "ms", "us", "ns"] | None = None
    """Unit of an integer `event_time` since 1970-01-01 UTC."""
    same_id: Literal["duplicate", "lines"] = "duplicate"
    """Rows of one user and type that share an `event_id`: repeats, of which one is kept, or lines to be summed."""

    @model_validator(mode="after")
    def _lines_need_an_id(self) -> Self:
        if self.same_id == "lines" and self.columns.event_id is None:
            message = "same_id = 'lines' sums the rows of one order and needs columns.event_id"
            raise ValueError(message)
        return self


class Contacts(Section):
    """One row per user with attributes that rules, models and segment tables can use."""

    path: Paths
    """Files, globs or folders of Parquet files, relative to the configuration file."""
    user_id: Text
    """The column that holds the user's id."""
    columns: Names = ()
    """The attributes to keep; all when empty."""
    model_columns: Names = ()
    """The attributes a model may learn from. They are as of today: list only what no outcome changes."""


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


class Checks(Section):
    """What the event log must satisfy."""

    max_reject_share: float = Field(0.01, ge=0, le=1)
    """The run stops when a larger share of a source's rows is rejected."""


class Features(Section):
    """Windows of the features."""

    windows: tuple[Annotated[int, Field(ge=1, le=36_500)], ...] = (7, 30, 90, 365)
    """Lengths in days of the half-open windows that end at `as_of`; at most 100."""

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if not self.windows or list(self.windows) != sorted(set(self.windows)):
            message = f"windows must be different and ascending, got {list(self.windows)}"
            raise ValueError(message)
        if len(self.windows) > _MOST_WINDOWS:
            message = f"at most {_MOST_WINDOWS} windows can be used, got {len(self.windows)}"
            raise ValueError(message)
        return self


class Engagement(Section):
    """Engagement score 0–100: weighted event counts in a window, on a logarithmic scale."""

    weights: dict[str, Annotated[int, Field(ge=0, le=1_000_000)]] = {}
    """Points per event of each type; every type counts 1 when empty."""
    window_days: int = Field(90, ge=1, le=36_500)
    """Length in days of the window that ends at `as_of`."""
    full_at: int | None = Field(None, ge=1)
    """The points that give 100; learned by `fit` (99th percentile of active users) when not given."""


RfmMethod = Literal["quantile", "rank", "r_rfm"]


class Rfm(Section):
    """Recency, frequency and monetary scores 1–5 and the segment map over them."""

    recency: RfmMethod = "quantile"
    """`quantile`: type-7 quantile edges, equal values together; `rank`: equal sizes, ties by user id; `r_rfm`: as R."""
    frequency: RfmMethod = "quantile"
    """As `recency`, for the number of purchases."""
    monetary: RfmMethod = "quantile"
    """As `recency`, for the money spent."""
    frequency_unit: Literal["orders", "days"] = "orders"
    """Whether frequency counts orders or days with an order."""
    segment_map: Literal["rf_10", "rfm_11", "r_fm_11", "r_rfm"] = "rf_10"
    """Which published table turns scores into segment names; the number is how many segments it has."""


class Target(Section):
    """What a propensity model predicts: an event within `horizon_days` after the anchor."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    """Names the score's column: letters a-z, digits and `_`."""
    event: Text
    """The event type to predict."""
    where: str | None = None
    """SQL condition over the canonical columns of the event, such as `amount >= 50`."""
    horizon_days: int = Field(30, ge=1, le=3650)
    """Days after the anchor in which the event counts."""


class Model(Section):
    """How the propensity models are trained (LightGBM)."""

    trees: int = Field(100, ge=1, le=10_000)
    """Boosting rounds."""
    learning_rate: float = Field(0.05, gt=0, le=1)
    """Shrinkage of each tree."""
    leaves: int = Field(15, ge=2, le=1024)
    """Leaves per tree at most."""
    min_rows_per_leaf: int = Field(50, ge=1)
    """Training rows per leaf at least."""
    train_anchors: int = Field(6, ge=1, le=100)
    """Training dates, spaced by the horizon, before the validation date."""
    max_rows: int = Field(500_000, ge=100)
    """Training and validation rows above this are each sampled by user, stably."""
    min_positives: int = Field(20, ge=1)
    """Fewer positive (or negative) training or validation rows stop the fit."""


class Clusters(Section):
    """k-means on scaled features."""

    enabled: bool = True
    """Whether users are clustered at all."""
    features: Names = ()
    """Feature names; recency, frequency, spend and activity when empty."""
    k_min: int = Field(3, ge=2, le=50)
    """The smallest number of clusters tried."""
    k_max: int = Field(8, ge=2, le=50)
    """The largest number of clusters tried; the best silhouette wins."""
    max_rows: int = Field(200_000, ge=100)
    """Rows above this are sampled by user, stably, to fit; every user is assigned."""

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.k_min > self.k_max:
            message = f"k_min ({self.k_min}) must not exceed k_max ({self.k_max})"
            raise ValueError(message)
        return self


class Segment(Section):
    """A named rule; a user's segment is the first rule that holds, in the order of the file."""

    name: str = Field(min_length=1, max_length=200)
    """The segment's name; any text, percent-encoded in the folder's name."""
    where: Text
    """SQL condition over features, scores and contact attributes."""
    description: str = ""
    """For people who read the tables."""


class Execution(Section):
    """Where and in which portions the work is done; none of it changes a number."""

    executor: Literal["local", "ray"] = "local"
    """`local`: in this process, on all cores; `ray`: tasks on a Ray cluster."""
    address: str | None = None
    """Ray cluster to join; a local one is started when neither this nor RAY_ADDRESS is given."""
    rows_per_task: int = Field(4_000_000, ge=1, le=100_000_000)
    """Event rows per task; decides how many buckets the users are cut into, and so the number of files."""
    cpus_per_task: int = Field(1, ge=1)
    """Threads of one Ray task; a local run uses all cores."""
    task_timeout_seconds: float = Field(3600, gt=0)
    """A task that takes longer stops the run."""
    retries: int = Field(3, ge=0, le=100)
    """How often a task lost with its worker is started again."""


class Config(Section):
    """The whole configuration of a segmentation."""

    out: Text = "out"
    """Folder the tables are published under, relative to the configuration file."""
    timezone: TimeZone = "UTC"
    """Days and windows are cut at midnight of this zone."""
    currency_digits: int = Field(2, ge=0, le=6)
    """Decimals of the currency's minor unit (2: cents)."""
    seed: int = Field(1, ge=0, le=2**31 - 1)
    """Seed of every sample and model."""
    refit_after_days: int = Field(7, ge=1)
    """`run` fits again when the bundle is at least this old."""
    segment_fallback: Text = "rfm"
    """Segment of users that no rule takes: a name, or `rfm` for their RFM segment."""
    sources: tuple[Source, ...] = Field(min_length=1)
    """The event logs; at least one."""
    contacts: Contacts | None = None
    """Attributes of the users, if there are any."""
    checks: Checks = Checks()
    """Limits the data must keep."""
    events: Events = Events()
    """Event types and their roles."""
    features: Features = Features()
    """What is computed per user."""
    engagement: Engagement = Engagement()
    """The engagement score."""
    rfm: Rfm = Rfm()
    """Recency, frequency and monetary scores."""
    targets: tuple[Target, ...] = ()
    """Propensity models to train; none when empty."""
    model: Model = Model()
    """Training of the propensity models."""
    clusters: Clusters = Clusters()
    """Clusters of similar users."""
    segments: tuple[Segment, ...] = ()
    """Rules, in the order in which they are tried."""
    execution: Execution = Execution()
    """Where the work is done."""

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        problems = []
        for label, names in (
            ("sources", [source.name for source in self.sources]),
            ("targets", [target.name for target in self.targets]),
            ("segments", [segment.name for segment in self.segments]),
        ):
            seen: dict[str, str] = {}
            for name in names:
                other = seen.setdefault(name.casefold(), name)
                if names.count(name) > 1 or other != name:
                    problems.append(
                        f"{label}: two entries named {name!r}" + (f" and {other!r}" if other != name else "")
                    )
        if problems:
            raise ValueError("; ".join(sorted(set(problems))))
        return self
