"""The sections of the configuration about what is learnt: targets, models, clusters."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from engine.config_values import Names, Section, Text


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
