"""Loops in the part of Python that numba compiles: the options and the cache that all of the engine's kernels share.

Without fast mathematics nothing is reassociated and no multiplication and addition become one: the bits of a result are
those of the same operations in numpy, on any processor. A program is compiled once per installation and kind of
processor (some seconds) and kept on disk by numba: beside the source, below the user's cache folder where that is
read-only, or where NUMBA_CACHE_DIR says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """The function, compiled; its first call reads the program from disk, or compiles it.

    Raises:
        ImportError: There is no numba, or it does not fit this Python or numpy.
    """
    import numba

    options: dict[str, Any] = {"nogil": True, "boundscheck": False, "error_model": "numpy"}
    try:
        program = numba.njit(function, cache=True, **options)
    except RuntimeError:
        # No folder for the program can be written: every process compiles it again.
        program = numba.njit(function, **options)
    return cast("Callable[P, R]", program)
