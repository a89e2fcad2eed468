"""The section of the configuration about the quality of the data: limits that warn or stop a run."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from engine.config_values import Section, Text

Metric = Literal[
    "rows", "completeness", "invalid_share", "duplicate_share", "reject_share", "late_share", "outlier_share",
    "freshness_days", "rule_share",
]  # fmt: skip


class Limit(Section):
    """What one measurement of the data may be."""

    metric: Metric
    """What is measured; docs/quality.md defines each."""
    of: Text | None = None
    """The source, `contacts` or an enrichment; all that have the metric when not given."""
    column: Text | None = None
    """The column or rule; all when not given."""
    at_least: float | None = None
    """The smallest value that is right."""
    at_most: float | None = None
    """The largest value that is right."""
    change: float | None = Field(None, gt=0)
    """The largest change against the date before that is right, as a share of its value (0.5: half)."""
    action: Literal["warn", "stop"] = "warn"
    """Whether a run that breaks it says so, or stops before anything is published."""

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.at_least is None and self.at_most is None and self.change is None:
            message = "expected at_least, at_most or change"
            raise ValueError(message)
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            message = f"at_least ({self.at_least}) must not be more than at_most ({self.at_most})"
            raise ValueError(message)
        return self


class Quality(Section):
    """Measurements of the data that each run writes to the table `quality`, and what they may be."""

    limits: tuple[Limit, ...] = ()
    """Limits; without any, each run measures and says nothing."""
    late_days: int = Field(1, ge=0, le=366)
    """An event counts as late when it was received so many days after it happened (sources with `received_time`)."""
    days: int | None = Field(None, ge=1, le=36_500)
    """How many days before the day of the run are measured, by the dates in the paths of files; the whole log when not
    given. Files whose paths name no date are always measured."""
