"""The operating system's error inside an error of Polars, which tells its number in words only."""

from __future__ import annotations

import os
import re

_NUMBER = re.compile(r"\(os error (\d+)\)")


def system_error(error: BaseException) -> OSError | None:
    """`error` as an OSError with its number; None when it is not a failure of the system."""
    if isinstance(error, OSError) and error.errno is not None:
        return error
    told = _NUMBER.search(str(error))
    return None if told is None else OSError(int(told[1]), os.strerror(int(told[1])))
