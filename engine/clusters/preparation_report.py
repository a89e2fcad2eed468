"""What the preparation of a fit did to the values of its users."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class FeatureReport:
    """One feature of the fit; counts are of users.

    Attributes:
        name: The feature.
        missing: Without a value, who took the fill value.
        winsorised_low: Raised to the lower edge.
        winsorised_high: Lowered to the upper edge.
        outliers: Beyond the outlier limits, whatever was done about them.
        constant: Whether all users who took part in the fit have one value, so that the feature tells none apart.
    """

    name: str
    missing: int
    winsorised_low: int
    winsorised_high: int
    outliers: int
    constant: bool


@dataclass(frozen=True)
class PreparationReport:
    """One fit of a preparation.

    Attributes:
        users: Rows of the fit.
        with_outliers: Users with an outlier in some feature.
        apart: Those of them who were set apart and took no part in scales and components; 0 unless
            `outliers = "apart"`.
        features: One per feature, in their order.
        components: Number of coordinates: of features, or of components.
        explained: Per component, the share of the variance of all features; empty without a reduction.
        kept: The share that `variance` asked for and that was reached, of the variance or, with factors, of the common
            variance; 1 without a reduction.
    """

    users: int
    with_outliers: int
    apart: int
    features: tuple[FeatureReport, ...]
    components: int
    explained: tuple[float, ...]
    kept: float

    def to_json(self) -> dict[str, Any]:
        """A dictionary of numbers, names, lists and dictionaries."""
        return asdict(self)
