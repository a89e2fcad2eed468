from __future__ import annotations

import errno

import polars as pl
import pytest

from engine.system_errors import system_error


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (OSError(errno.EIO, "Input/output error"), errno.EIO),
        (FileNotFoundError("No such file or directory (os error 2): a.parquet"), 2),
        (pl.exceptions.ComputeError("parquet: underlying IO error: No space left on device (os error 28)"), 28),
        (OSError("Couldn't deserialize thrift"), None),
        (pl.exceptions.ComputeError("conversion failed"), None),
    ],
)
def test_the_number_of_a_system_error(error: BaseException, number: int | None) -> None:
    found = system_error(error)
    assert (None if found is None else found.errno) == number


def test_as_polars_tells_it() -> None:
    with pytest.raises(OSError, match="nosuch") as caught:
        pl.scan_parquet("/nosuch/a.parquet", glob=False).collect()
    found = system_error(caught.value)
    assert found is not None
    assert (found.errno, found.strerror) == (errno.ENOENT, "No such file or directory")
