"""The sections of the configuration about what is learnt: targets, models, customer value, clusters."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from engine.config_consent import Purpose
from engine.config_values import Names, Section

TargetPreset = Literal["purchase", "repeat_purchase", "click", "coupon_use", "unsubscribe", "reactivation", "churn"]


class Target(Section):
    """What a propensity model predicts: an event within `horizon_days` after the anchor, or its absence."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    """Names the score's column: letters a-z, digits and `_`."""
    preset: TargetPreset | None = None
    """A target by its usual name: `event`, `absent` and `population` come from it and from the roles in `[events]`."""
    event: str = ""
    """The event type to predict; needed without a preset."""
    where: str | None = None
    """SQL condition over the canonical columns of the event, such as `amount >= 50`."""
    absent: bool = False
    """Whether the event's absence is predicted (churn)."""
    population: str | None = None
    """SQL condition over features and contact attributes: whom the target is about. Others get no score."""
    horizon_days: int = Field(30, ge=1, le=3650)
    """Days after the anchor in which the event counts."""
    purposes: tuple[Purpose, ...] = ()
    """What a user must have agreed to, all of it, to get this score, beside `consent.process`."""

    @model_validator(mode="after")
    def _event_or_preset(self) -> Self:
        if not self.event and self.preset is None:
            message = "event: expected an event type, or a preset"
            raise ValueError(message)
        return self


class Model(Section):
    """How the propensity models are trained (LightGBM), calibrated and judged."""

    trees: int = Field(500, ge=1, le=10_000)
    """Boosting rounds at most; early stopping keeps those that helped on the validation rows."""
    early_stopping_rounds: int = Field(30, ge=0, le=10_000)
    """Training ends when so many rounds did not help; 0: never."""
    learning_rate: float = Field(0.05, gt=0, le=1)
    """Shrinkage of each tree."""
    leaves: int = Field(15, ge=2, le=1024)
    """Leaves per tree at most."""
    min_rows_per_leaf: int = Field(50, ge=1)
    """Training rows per leaf at least."""
    feature_share: float = Field(1.0, gt=0, le=1)
    """Share of the features that each tree may use, drawn anew for every tree."""
    l2: float = Field(0.0, ge=0, le=1e6)
    """Penalty on the size of a leaf's value; more makes trees more cautious."""
    monotone: dict[str, Literal["increasing", "decreasing"]] = Field({})
    """Features whose growth may only raise, or only lower, the score."""
    train_anchors: int = Field(6, ge=1, le=100)
    """Training dates, spaced by the horizon, before the validation dates."""
    valid_anchors: int = Field(1, ge=1, le=100)
    """Later dates, whose rows stop the training and calibrate the scores."""
    test_anchors: int = Field(1, ge=1, le=100)
    """The latest dates, whose rows only measure the model."""
    test_users: float = Field(0.25, ge=0, lt=1)
    """Share of the users that is kept for the test and never learned from; 0: every user is in all three."""
    max_rows: int = Field(500_000, ge=100)
    """Training, validation and test rows above this are each sampled by user, stably."""
    min_rows: int = Field(200, ge=1)
    """Fewer training rows stop the fit."""
    min_positives: int = Field(20, ge=1)
    """Fewer positive (or negative) training, validation or test rows stop the fit."""
    calibration: Literal["auto", "isotonic", "platt", "none"] = "auto"
    """How scores become probabilities; `auto`: isotonic if the rarer class has 1,000 validation rows, else Platt."""
    classes: dict[str, Annotated[float, Field(gt=0, le=1000)]] = Field(
        {"very_likely": 5.0, "likely": 3.0, "possible": 1.0}
    )
    """Classes by the multiple of the base rate that a probability reaches; below all of them it is `unlikely`."""
    gate: Literal["hold", "warn"] = "hold"
    """`hold`: a model worse than the base rate, the logistic baseline or the model in use is not promoted."""
    leak_auc: float = Field(0.98, gt=0.5, le=1)
    """A single feature that tells the label this well raises an alarm."""
    tune: int = Field(0, ge=0, le=10_000)
    """Trials of other settings before the training (Optuna, `pip install 'tamis[tune]'`); `fit --tune N` sets it."""

    @model_validator(mode="after")
    def _classes(self) -> Self:
        multiples = list(self.classes.values())
        if "unlikely" in self.classes or len(set(multiples)) < len(multiples):
            message = f"classes: expected different multiples and other names than 'unlikely', got {self.classes}"
            raise ValueError(message)
        return self


class CustomerValue(Section):
    """What customers will be worth: BG/NBD for their number of purchases, Gamma-Gamma for their spend."""

    horizon_days: int = Field(365, ge=1, le=3650)
    """Days after `as_of` for which purchases and value are expected."""
    discount_rate: float = Field(0.1, ge=0, le=10)
    """Yearly rate at which money of later days counts less."""
    min_customers: int = Field(100, ge=2)
    """Fewer customers with a repeat purchase stop the fit."""


class Drift(Section):
    """How far the users of a run may be from those that the models learned from (population stability index)."""

    warn_at: float = Field(0.25, gt=0)
    """A feature or score with a PSI of at least this is warned of."""
    bins: int = Field(10, ge=2, le=100)
    """Bins of equal share in which features and scores are compared."""


class Clusters(Section):
    """Groups of similar users, found in scaled features."""

    enabled: bool = True
    """Whether users are clustered at all."""
    algorithm: Literal["kmeans", "mixture", "ward", "dbscan", "hdbscan"] = "kmeans"
    """`kmeans`; `mixture`: Gaussian mixture; the others find clusters in a sample and assign the rest."""
    covariance: Literal["diagonal", "full"] = "diagonal"
    """Of the components of a mixture."""
    features: Names = ()
    """Feature names; recency, frequency, spend and activity when empty."""
    transform: Literal["log1p", "none"] = "log1p"
    """`log1p`: the signed logarithm of every feature first, so that few large values do not rule."""
    scale: Literal["z_score", "min_max", "robust", "none"] = "z_score"
    """What makes features comparable; `robust`: median and interquartile range."""
    winsorise: float = Field(0, ge=0, lt=0.5)
    """Share of the users at either end whose values are cut to the quantile; 0: none."""
    outliers: Literal["keep", "clip", "apart"] = "keep"
    """Values beyond `outlier_limit`: kept, cut to it, or their users set apart as a group of their own."""
    outlier_limit: float = Field(6, gt=0)
    """Distance from the median, in robust standard deviations, beyond which a value is an outlier."""
    reduce: Literal["none", "pca", "factor"] = "none"
    """Principal components or factors instead of the features."""
    variance: float = Field(0.9, gt=0, le=1)
    """Share of the variance that components or factors must keep."""
    k_min: int = Field(3, ge=2, le=50)
    """The smallest number of clusters tried."""
    k_max: int = Field(8, ge=2, le=50)
    """The largest number of clusters tried."""
    choose: Literal["silhouette", "elbow", "gap", "bic"] = "silhouette"
    """What chooses the number of clusters; `bic` for a mixture. All of them are kept for the report."""
    tolerance: float = Field(0.1, ge=0, lt=1)
    """The smallest number of clusters is taken whose silhouette is within this share of the best."""
    min_share: float = Field(0.01, ge=0, lt=0.5)
    """A number of clusters with one that has a smaller share of the users is not taken, if another can be."""
    max_rows: int = Field(200_000, ge=100)
    """Rows above this are sampled by user, stably, to prepare and to choose; k-means and mixtures then use all."""
    neighbours: int = Field(10, ge=1, le=1000)
    """Users that make a place dense (DBSCAN, HDBSCAN)."""
    radius: float | None = Field(None, gt=0)
    """Distance within which DBSCAN's neighbours are; found from the data when not given."""
    resamples: int = Field(20, ge=0, le=1000)
    """Bootstrap samples that tell how stable the clusters are; 0: none."""
    stable_at: float = Field(0.6, gt=0, le=1)
    """Mean Jaccard similarity over the samples below which a cluster is called unstable (Hennig 2007)."""
    max_moved: float = Field(0.5, gt=0, le=1)
    """A fit that moves a larger share of the users to other clusters than the published ones is not promoted."""
    language: Literal["en", "fr"] = "en"
    """Language of the clusters' names."""
    names: dict[str, str] = Field({})
    """Names of one's own by cluster id, which need no new fit: `{ 3 = "Big baskets" }`."""
    refit_psi: float = Field(0.25, gt=0)
    """`fit --if-drifted` fits again when the PSI of a clustering feature (not of `tenure_days`) reaches this,"""
    refit_far: float = Field(0.05, gt=0, le=1)
    """or when this share of the users is farther from every centroid than 99 % were at the fit."""

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.k_min > self.k_max:
            message = f"k_min ({self.k_min}) must not exceed k_max ({self.k_max})"
            raise ValueError(message)
        ids = all(re.fullmatch(r"-1|0|[1-9][0-9]*", cluster) for cluster in self.names)
        if not ids or len(set(self.names.values())) < len(self.names):
            message = f"names: expected ids (0, 1, …; -1: no cluster) with different names, got {self.names}"
            raise ValueError(message)
        if self.choose == "bic" and self.algorithm != "mixture":
            message = f"choose = 'bic' needs algorithm = 'mixture', got {self.algorithm!r}"
            raise ValueError(message)
        return self
