"""What stands behind a prediction: LightGBM, or the project's own kernel where it is faster; the bits are the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from engine.propensity.check_rows import probing_rows
from engine.propensity.forest import Forest, compile_forest, forest_scores
from engine.propensity.forest_kernel import kernel_is_loaded
from engine.propensity.model_text import Tree, parse_model_text
from engine.stable_math import sigmoid

if TYPE_CHECKING:
    from collections.abc import Sequence

    import lightgbm
    from numpy.typing import NDArray

# Rows x trees that LightGBM scores while the kernel is loaded (half a second or more), and while a model is made ready
# for a kernel that is loaded.
_WORTH_LOADING = 10_000_000
_WORTH_PREPARING = 500_000
# The kernel evaluates every split of a tree, not only those on the way to a leaf: LightGBM is faster beyond this.
_WIDEST_TREES = 255
_SLOWER = "LightGBM predicts instead: the same scores, several times slower"


@dataclass(frozen=True, eq=False)
class _Prepared:
    """The model for the kernel, or why it has none."""

    forest: Forest | None
    note: str = ""


@dataclass(eq=False)
class LoadedModel:
    """Trees whose text was checked.

    Attributes:
        trees: What the text says.
        features: Columns of a matrix to score.
        booster: The same in LightGBM.
    """

    trees: tuple[Tree, ...]
    features: int
    booster: lightgbm.Booster
    _scored: int = field(default=0, init=False)

    @property
    def backend(self) -> Literal["kernel", "lightgbm"]:
        """What the last scores came from, and the next ones will."""
        return "kernel" if self._is_prepared and self._prepared.forest is not None else "lightgbm"

    @property
    def note(self) -> str:
        """Why LightGBM predicts where the kernel would have been faster; empty as long as the kernel is not tried."""
        return self._prepared.note if self._is_prepared else ""

    def forest_for(self, rows: int) -> Forest | None:
        """The model for the kernel, when it has one and loading it pays; asked once for each scoring of so many rows.

        Loading the kernel takes longer than LightGBM takes for a few thousand rows. It is loaded when LightGBM has
        taken as long for this model, in however many parts: then no way of calling takes twice the better way.
        """
        if not self._is_prepared:
            self._scored += rows * len(self.trees)
            if self._scored < (_WORTH_PREPARING if kernel_is_loaded() else _WORTH_LOADING):
                return None
        return self._prepared.forest

    @property
    def _is_prepared(self) -> bool:
        return "_prepared" in vars(self)

    @cached_property
    def _prepared(self) -> _Prepared:
        if sum(tree.leaf_value.size for tree in self.trees) > _WIDEST_TREES * len(self.trees):
            return _Prepared(None)
        try:
            forest = compile_forest(self.trees, self.features)
            rows = probing_rows(self.trees, forest.levels.tolist())
            scores = forest_scores(forest, rows, threads=1)
        except ModuleNotFoundError:
            return _Prepared(None, f"the fast kernel needs numba, which is not installed; {_SLOWER}")
        except Exception as error:  # noqa: BLE001 - whatever it is, LightGBM can do the work
            return _Prepared(None, f"the fast kernel failed ({type(error).__name__}: {error}); {_SLOWER}")
        differing = int(np.count_nonzero(scores.view(np.int64) != _lightgbm(self.booster, rows, 1).view(np.int64)))
        if differing:
            what = f"the fast kernel disagrees with LightGBM on {differing} of {len(rows)} made-up rows"
            return _Prepared(None, f"{what}; {_SLOWER}")
        return _Prepared(forest)


def load_model(model_text: str, categorical: Sequence[bool]) -> LoadedModel:
    """The model of a text, after every line of it was checked and before LightGBM sees it.

    Args:
        model_text: As `engine.propensity.model_text.canonical_text` gives it.
        categorical: One entry per feature of the model, in order: whether it is split by category.

    Raises:
        IntegrityError: The text is not exactly what LightGBM writes for a binary model of these features.
    """
    trees = parse_model_text(model_text, categorical)
    import lightgbm

    return LoadedModel(trees=trees, features=len(categorical), booster=lightgbm.Booster(model_str=model_text))


def model_scores(model: LoadedModel, matrix: NDArray[np.float64], threads: int) -> NDArray[np.float64]:
    """The model's probability for each row, before calibration; a row's bits do not depend on the others or on threads.

    The sum of the leaves is LightGBM's, bit for bit. The logistic function of it is the project's own, within 1e-15 of
    LightGBM's, whose last bit depends on the C library.

    Args:
        model: From `load_model`.
        matrix: Rows of encoded features in the model's order; NaN is missing.
        threads: Threads that may be used.
    """
    if not len(matrix):
        return np.empty(0, dtype=np.float64)
    forest = model.forest_for(len(matrix))
    if forest is None:
        return sigmoid(_lightgbm(model.booster, matrix, threads))
    return sigmoid(forest_scores(forest, matrix, threads))


def _lightgbm(booster: lightgbm.Booster, matrix: NDArray[np.float64], threads: int) -> NDArray[np.float64]:
    # Without num_threads LightGBM takes every core, or as many as it was trained with.
    return np.asarray(booster.predict(matrix, raw_score=True, num_threads=threads), dtype=np.float64)
