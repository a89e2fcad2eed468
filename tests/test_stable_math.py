from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from decimal import Decimal, localcontext
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

from engine.stable_math import exp, log, log1p, logit, sigmoid

ROOT = Path(__file__).parents[1]
OPTIONAL = [feature for feature in __cpu_dispatch__ if __cpu_features__[feature]]

# What the engine makes of logarithms and exponentials, as one checksum.
RESULTS = """
import hashlib
import numpy as np
import polars as pl
from engine.clusters.assign import Clustering, assign
from engine.clusters.choose import choose_k
from engine.clusters.prepare import fit_preparation, to_matrix
from engine.config import Clusters
from engine.propensity.calibration import calibrate, fit_calibration
from engine.propensity.intervals import bootstrap
from engine.propensity.metrics import measure
from engine.stable_math import exp, log, log1p, logit, sigmoid

random = np.random.Generator(np.random.PCG64(4))
values = random.integers(0, 10_000_000, 20_000) / 100
frame = pl.DataFrame({"spend": values, "visits": random.integers(0, 400, 20_000)})
taken = []
for settings in (Clusters(k_min=2, k_max=3, reduce="pca"), Clusters(k_min=2, k_max=2, algorithm="mixture")):
    matrix = to_matrix(frame, ["spend", "visits"])
    preparation, report = fit_preparation(matrix, ["spend", "visits"], settings)
    choice = choose_k(preparation.apply(matrix), settings, 1)
    mixture = getattr(choice.fit, "mixture", None)
    centroids = tuple(map(tuple, np.array(choice.fit.centroids if mixture is None else mixture.means).tolist()))
    k = len(centroids)
    ids, names = tuple(range(k)), ("",) * k
    clustering = Clustering(preparation, settings.algorithm, centroids, ids, names, "", 1.0, k, mixture)
    taken += [repr(clustering), repr(choice.curve), repr(report), assign(frame, clustering).write_csv()]
scores = (random.integers(1, 1000, 20_000)) / 1000
labels = random.integers(0, 2, 20_000)
metrics = measure(labels, scores)
taken += [log1p(values), log(scores), repr(metrics)]
taken += [exp(values - 500), sigmoid(values - 500), logit(scores), repr(bootstrap(labels, scores, 3, samples=10))]
curves = [fit_calibration(labels, scores, method) for method in ("isotonic", "platt")]
taken += [part for curve in curves for part in (repr(curve), calibrate(curve, scores))]
digest = hashlib.sha256()
for part in taken:
    digest.update(part.encode() if isinstance(part, str) else part.tobytes())
print(digest.hexdigest())
"""


def units_off(found: float, exact: Decimal) -> float:
    return float(abs(Decimal(found) - exact) / Decimal(math.ulp(float(exact))))


@given(st.floats(5e-324, 1.7e308) | st.floats(0.5, 2) | st.integers(1, 10**9).map(float))
def test_logarithms_are_within_one_unit_in_the_last_place(value: float) -> None:
    with localcontext(prec=60):
        assert units_off(float(log(value)), Decimal(value).ln()) <= 1


@given(
    st.floats(0, 1.7e308) | st.floats(-1, 2, exclude_min=True) | st.integers(0, 10**9).map(float) | st.floats(0, 1e-9)
)
def test_logarithms_of_one_more_are_within_two_units(value: float) -> None:
    with localcontext(prec=400):
        assert units_off(float(log1p(value)), (1 + Decimal(value)).ln()) <= 2


@given(st.floats(-746, 710) | st.floats(-1, 1) | st.integers(-700, 700).map(lambda step: step * math.log(2) / 2))
def test_exponentials_are_within_one_unit_in_the_last_place(value: float) -> None:
    with localcontext(prec=60):
        exact = Decimal(value).exp()
        if exact > Decimal(sys.float_info.max):
            assert float(exp(value)) == math.inf
        else:
            assert units_off(float(exp(value)), exact) <= (1 if exact > Decimal(sys.float_info.min) else 2)


@given(st.floats(-746, 746) | st.floats(-2, 2))
def test_sigmoids_are_within_three_units(value: float) -> None:
    with localcontext(prec=400):
        exact = 1 / (1 + Decimal(-value).exp())
        assert units_off(float(sigmoid(value)), exact) <= (3 if exact > Decimal(sys.float_info.min) else 4)


@given(st.floats(5e-324, 1, exclude_max=True) | st.floats(0.49, 0.51))
def test_log_odds_are_near_on_the_scale_of_one(value: float) -> None:
    with localcontext(prec=400):
        exact = (Decimal(value) / (1 - Decimal(value))).ln()
        assert abs(Decimal(float(logit(value))) - exact) <= max(1, abs(exact)) * Decimal(2) ** -51


def test_more_never_has_a_smaller_exponential() -> None:
    steps = np.arange(-40, 40, 1e-3)
    assert (np.diff(exp(steps)) > 0).all()
    assert (np.diff(sigmoid(steps)) >= 0).all()


def test_more_never_has_a_smaller_logarithm() -> None:
    assert (np.diff(log1p(np.arange(300_000))) > 0).all()


def test_known_values() -> None:
    assert float(log(1)) == float(log1p(0)) == 0.0
    assert float(log(2)) == math.log(2)
    assert log1p(np.array([5e-324, 1e-300, -1e-300])).tolist() == [5e-324, 1e-300, -1e-300]
    assert exp([0, -math.inf, -746, 709.9, math.inf]).tolist() == [1.0, 0.0, 0.0, math.inf, math.inf]
    assert float(exp(1)) == math.e
    assert exp([5e-324, -1e-300]).tolist() == [1.0, 1.0]
    assert sigmoid([0, -math.inf, -800, 800, math.inf]).tolist() == [0.5, 0.0, 0.0, 1.0, 1.0]
    assert logit([0.25, 0.5]).tolist() == pytest.approx([-math.log(3), 0.0], rel=1e-15)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 4), (2, 4096)])
def test_the_shape_is_kept_and_a_value_has_the_same_bits_in_any_company(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(2).exponential(100, size=shape)
    for function in (log, log1p, exp, sigmoid, lambda given: logit(1 / (1 + np.asarray(given)))):
        found = function(values)
        assert found.shape == shape
        alone = [float(function(value)) for value in values.ravel()[:50].tolist()]
        assert found.ravel()[:50].tolist() == alone
        assert found.tobytes() == np.ascontiguousarray(function(np.asfortranarray(values))).tobytes()


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_what_has_no_logarithm_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="finite values above 0"):
        log([1.0, value])
    if value:
        with pytest.raises(ValueError, match="finite values above -1"):
            log1p([1.0, value])


def test_what_has_no_exponential_or_log_odds_is_refused() -> None:
    for function in (exp, sigmoid):
        with pytest.raises(ValueError, match="not NaN"):
            function([1.0, math.nan])
    for value in (0.0, 1.0, -0.5, 1.5, math.nan):
        with pytest.raises(ValueError, match="finite values above"):
            logit([0.5, value])


def test_the_bits_are_those_of_every_other_machine() -> None:
    steps = np.arange(1, 100_001)
    digest = hashlib.sha256(log(steps / 7).astype("<f8").tobytes() + log1p(steps / 64).astype("<f8").tobytes())
    assert digest.hexdigest() == "177d284612c499204b7814d421e65ba6d5aa3968b156d13cf0680064416fddea"
    steps = np.arange(-50_000, 50_001) / 512
    digest = hashlib.sha256(exp(steps).astype("<f8").tobytes() + sigmoid(steps).astype("<f8").tobytes())
    assert digest.hexdigest() == "84ef9202393890d67c245385e93c07647952b4e5f35f8000cfa2f0d800cd0edc"


@pytest.mark.skipif(not OPTIONAL, reason="this processor has no kernels to choose from")
def test_no_result_depends_on_what_the_processor_can_do() -> None:
    def run(without: list[str]) -> str:
        environment = {**os.environ, "NPY_DISABLE_CPU_FEATURES": " ".join(without)}
        command = [sys.executable, "-c", RESULTS]
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        ).stdout.strip()

    assert run(OPTIONAL) == run([])
