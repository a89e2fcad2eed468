from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

from engine.clusters.scale import centres_and_scales, quantile


@pytest.mark.parametrize(
    ("scaling", "oracle"), [("z_score", StandardScaler()), ("min_max", MinMaxScaler()), ("robust", RobustScaler())]
)
@pytest.mark.parametrize("rows", [2, 3, 4, 501])
def test_scaled_values_are_those_of_scikit_learn(scaling: str, oracle: object, rows: int) -> None:
    values = np.random.default_rng(rows).lognormal(3, 2, size=(rows, 4))
    centre, scale = centres_and_scales(scaling, list(values.T))
    np.testing.assert_allclose((values - centre) / scale, oracle.fit_transform(values), rtol=1e-10, atol=1e-12)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=30), st.floats(0, 1))
def test_quantiles_are_those_of_numpy(values: list[float], share: float) -> None:
    expected = np.quantile(values, share)
    assert quantile(np.sort(values), share) == pytest.approx(expected, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("scaling", ["z_score", "min_max", "robust"])
@pytest.mark.parametrize("values", [(0.1,) * 7, (5,), (0.3, 0.1 + 0.2, 0.3), (1e9, 1e9 * (1 + 2e-16))])
def test_a_constant_feature_has_scale_one_and_its_value_as_centre(scaling: str, values: tuple[float, ...]) -> None:
    (centre,), (scale,) = centres_and_scales(scaling, [np.array(values)])
    assert scale == 1
    assert centre in values


def test_without_an_interquartile_range_the_standard_deviation_is_the_scale() -> None:
    values = np.array([0.0] * 9 + [10.0])
    assert centres_and_scales("robust", [values]) == ((0.0,), (values.std(),))


@pytest.mark.parametrize(
    ("columns", "centres", "scale"),
    [
        ([[0, 1], [-3, 511]], (0, 0), 1),
        ([[0, 0], [0, 0]], (0, 0), 1),
        ([[0, 0.75]], (0,), 1),
        ([[0, 0.001], [0, 0.002]], (0, 0), 2.0**-8),
        ([[0, 512]], (256,), 1),
        ([[0, 1], [0, 1024 * 1024]], (0.5, 2.0**19), 2.0**11),
        ([[1_700_000_000, 1_700_000_001, 1_700_000_500], [1, 2, 3]], (1_700_000_001, 2), 1),
    ],
)
def test_unscaled_features_share_one_power_of_two(
    columns: list[list[float]], centres: tuple[float, ...], scale: float
) -> None:
    arrays = [np.array(column, dtype=np.float64) for column in columns]
    assert centres_and_scales("none", arrays) == (centres, (scale,) * len(columns))
    assert all(np.abs((array - centre) / scale).max() < 512 for array, centre in zip(arrays, centres, strict=True))
