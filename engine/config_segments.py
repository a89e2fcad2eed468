"""The sections of the configuration about who belongs where: segments, lifecycle, points, experiments, guards, KPIs."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from engine.config_consent import Purpose
from engine.config_values import Names, Section, Text

Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,47}$")]
Labels = dict[Annotated[str, Field(pattern=r"^[a-z]{2}$")], Text]

PRIMARY = "primary"
"""The group whose segments are the folders of the table `segments`: every user is in exactly one of them."""


class Segment(Section):
    """A named set of users: those a rule holds for, or those of a list."""

    name: str = Field(min_length=1, max_length=200)
    """The segment's name; any text, percent-encoded in the folder's name."""
    where: Text | None = None
    """The rule; docs/rules.md has the language. Either this or `list`."""
    list: Text | None = None
    """File of user ids: Parquet or CSV with a column `user_id`, or a text file with one id per line."""
    frozen_on: date | None = None
    """The day a list was made; on days before it nobody is in it."""
    expires_on: date | None = None
    """From this day on nobody is in the segment, and each run says so."""
    unknown_ids: Literal["refuse", "ignore"] = "refuse"
    """What to do about ids of a list that no event has: stop, or count them."""
    group: Slug = PRIMARY
    """Of the segments of one group a user is in one at most: the first that holds."""
    tag: bool = False
    """Whether it stands outside all groups: a user can have any number of tags."""
    priority: int = Field(0, ge=-1_000_000, le=1_000_000)
    """Within its group, a segment with more of it is tried first; among equals the order of the file counts."""
    campaigns: Names = ()
    """Campaigns that address it."""
    labels: Labels = Field({})
    """What people read instead of the name, by language: `{ fr = "Clients premium" }`."""
    cost: float | None = Field(None, ge=0)
    """What addressing it cost in the window of the KPIs, in major units; gives the cost per acquisition."""
    description: str = ""
    """For people who read the tables."""
    purposes: tuple[Purpose, ...] = ()
    """What a user must have agreed to, all of it, to be in it, beside `consent.process`."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.where is None) == (self.list is None):
            message = "expected either where (a rule) or list (a file of ids)"
            raise ValueError(message)
        dated = self.frozen_on is not None or self.expires_on is not None
        if self.list is None and (dated or self.unknown_ids != "refuse"):
            message = "frozen_on, expires_on and unknown_ids are keys of a list"
            raise ValueError(message)
        if self.list is not None and self.frozen_on is None:
            message = "frozen_on: expected the day on which the list was made"
            raise ValueError(message)
        if self.frozen_on is not None and self.expires_on is not None and self.expires_on <= self.frozen_on:
            message = f"expires_on ({self.expires_on}) must be after frozen_on ({self.frozen_on})"
            raise ValueError(message)
        if self.tag and (self.group != PRIMARY or self.priority):
            message = "a tag has neither group nor priority"
            raise ValueError(message)
        return self


LifecyclePreset = Literal["subscriber", "activity", "buyer", "prospect", "funnel"]


class Lifecycle(Section):
    """A group of segments by its usual names: stages of subscribers, daily states, kinds of buyers or prospects."""

    preset: LifecyclePreset
    """Which stages; docs/rules.md has their rules."""
    cutoffs: dict[str, Annotated[float, Field(ge=0, le=36_500)]] = Field({})
    """Cut-offs other than the usual ones, such as `{ active_days = 7, inactive_days = 30 }`."""
    campaigns: Names = ()
    """Campaigns that address its segments."""


class Experiment(Section):
    """Arms of an experiment or a hold-out group, drawn by a keyed hash of the user's id: a tag per arm."""

    name: Slug
    """Names the segments: `<name>_<arm>`."""
    arms: dict[Slug, Annotated[float, Field(gt=0)]] = Field(min_length=2)
    """Weight of each arm: `{ control = 10, offer = 90 }`."""
    key: Text
    """Text that is hashed with each id; another one draws anew."""
    where: Text | None = None
    """A rule: who takes part; everyone when not given."""
    campaigns: Names = ()
    """Campaigns that it belongs to."""
    purposes: tuple[Purpose, ...] = ()
    """What a user must have agreed to, all of it, to be in an arm, beside `consent.process`."""


class PointRule(Section):
    """What gives points: events, or a number or condition of the user."""

    name: Slug
    """Stands in the ledger."""
    event: Text | None = None
    """Event type whose events give points."""
    where: Text | None = None
    """With `event`: a condition over the event's columns. Without: a rule over the user, which gives them once."""
    value: Text | None = None
    """A number of the user in the language of rules, such as `open_rate_90d`."""
    points: float = Field(0, ge=-1_000_000, le=1_000_000)
    """Points per event or unit (`each`), or for all of it (other forms); `steps` has its own."""
    form: Literal["each", "once", "linear", "log", "steps"] = "each"
    """`each`: per event or unit; `once`: when there is any; `linear`, `log`: rising to all points at `full_at`;
    `steps`: those of the highest step that is reached."""
    full_at: float | None = Field(None, gt=0)
    """The number that gives all points of `linear` and `log`."""
    steps: tuple[tuple[float, float], ...] = ()
    """For `steps`: pairs of a number that must be reached and its points, ascending."""
    window_days: int | None = Field(None, ge=1, le=36_500)
    """Only events of so many days before `as_of`; the whole history when not given."""
    half_life_days: int | None = Field(None, ge=1, le=3650)
    """Age in days at which an event counts half."""
    cap: float | None = Field(None, gt=0)
    """The rule gives, or takes away, so many points at most."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.event is None and (self.where is None) == (self.value is None):
            message = "expected one of event, where (a rule) and value (a number)"
            raise ValueError(message)
        if self.event is not None and self.value is not None:
            message = "event and value exclude each other"
            raise ValueError(message)
        if self.event is None and (self.window_days is not None or self.half_life_days is not None):
            message = "window_days and half_life_days are keys of a rule about events"
            raise ValueError(message)
        if (self.full_at is not None) != (self.form in {"linear", "log"}):
            message = f"full_at: needed by linear and log alone, got form = {self.form!r}"
            raise ValueError(message)
        ascending = [low for low, _ in self.steps] == sorted({low for low, _ in self.steps})
        if self.points == 0 and self.form != "steps" and "points" not in self.model_fields_set:
            message = f"points: needed by form = {self.form!r}"
            raise ValueError(message)
        if self.points != 0 and self.form == "steps":
            message = "points: each of the steps has its own, so form = 'steps' takes none"
            raise ValueError(message)
        if bool(self.steps) != (self.form == "steps") or not ascending:
            message = "steps: needed by form = 'steps' alone, pairs with ascending first numbers"
            raise ValueError(message)
        return self


class PointCard(Section):
    """A score card: points of several rules, added up, and classes of the sum."""

    name: Slug
    """Names the columns: `points_<name>` and `points_<name>_class`."""
    preset: Literal["behaviour", "value", "engagement", "maturity"] | None = None
    """Rules and classes by their usual name; docs/rules.md lists them. Own rules come on top, one with the name of a
    preset's rule takes its place, and own classes take the place of the preset's."""
    rules: tuple[PointRule, ...] = ()
    """What gives points."""
    cap: float | None = Field(None, gt=0)
    """The sum is cut at so many points."""
    floor: float = 0
    """The sum is not below it."""
    classes: dict[Slug, float] = Field({})
    """Classes by the points that must be exceeded: `{ high = 60, medium = 20 }`; who exceeds none is in `base`."""
    base: Slug = "low"
    """The class of those who exceed no threshold."""
    labels: dict[str, Labels] = Field({})
    """What people read instead of a class, by class and language."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.rules and self.preset is None:
            message = "rules: expected at least one, or a preset"
            raise ValueError(message)
        names = [rule.name for rule in self.rules]
        if len(set(names)) < len(names):
            message = f"rules: expected different names, got {names}"
            raise ValueError(message)
        if self.base in self.classes or len(set(self.classes.values())) < len(self.classes):
            message = f"classes: expected different thresholds, and other names than {self.base!r}, got {self.classes}"
            raise ValueError(message)
        if self.cap is not None and self.cap <= self.floor:
            message = f"cap ({self.cap:g}) must exceed floor ({self.floor:g})"
            raise ValueError(message)
        return self


Action = Literal["off", "warn", "hold"]


class Guards(Section):
    """What is looked at before a publish; `hold` keeps the tables of the last run, and the run ends with code 4."""

    empty: Action = "warn"
    """A segment that nobody is in."""
    small: Action = "warn"
    """A segment that is not empty and has fewer users than `min_users`."""
    min_users: int = Field(1, ge=1)
    """The fewest users of a segment."""
    clause: Action = "warn"
    """A clause of a rule that holds for nobody or for everybody."""
    jump: Action = "warn"
    """A segment that is larger or smaller than in the last run by a factor of `max_jump` or more."""
    max_jump: float = Field(2.0, gt=1)
    """The factor; a segment counts that had `jump_users` then or has them now."""
    jump_users: int = Field(100, ge=1)
    """Users below which a segment may change as it likes."""
    shift: Action = "warn"
    """A segment whose users are of another kind than in the last run (population stability index); `tenure_days` plays
    no part, as it grows every day."""
    max_shift: float = Field(0.25, gt=0)
    """The index from which it is told."""
    unassigned: Action = "warn"
    """Too many users whom no rule of the primary group takes."""
    max_unassigned: float = Field(1.0, gt=0, le=1)
    """The largest share of them; the fallback `rfm` is a segment like others, and its users are not counted."""
    overlap: Action = "warn"
    """Two segments with nearly the same users."""
    max_overlap: float = Field(0.95, gt=0, le=1)
    """Users of both ÷ users of either, from which it is told."""
    campaign: Action = "warn"
    """More than `max_campaign_segments` segments for one campaign."""
    max_campaign_segments: int = Field(10, ge=1)
    """The most segments of a campaign that people still tell apart."""
    demographics: Action = "warn"
    """A segment by contact attributes alone, without anything the users did."""


class Kpis(Section):
    """Key figures per segment."""

    window_days: int | None = Field(None, ge=1)
    """Window of the figures, one of `features.windows`; the shortest of at least 28 days when not given."""


class RfmCell(Section):
    """A segment of an RFM map of one's own: inclusive ranges of scores."""

    name: Text
    """The segment."""
    r: tuple[int, int] | None = None
    """Recency scores, from and to; any when not given."""
    f: tuple[int, int] | None = None
    """Frequency scores."""
    m: tuple[int, int] | None = None
    """Monetary scores."""
