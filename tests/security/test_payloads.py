from __future__ import annotations

import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.check_run import check_run
from engine.config import Execution
from engine.errors import DataError
from engine.execution.local import LocalExecutor
from engine.execution.protocol import Executor
from engine.feature_run import features_run
from tests.samples import AS_OF, configuration, write_sample

FOOTERS_IN_A_CHILD = True
# Ray Data unpickled what stands behind these names when it read the schema of a file (CVE-2026-41486).
EXTENSIONS = ("ray.data.arrow_tensor", "ray.data.arrow_variable_shaped_tensor", "ray.data.arrow_pickled_object")


class Payload:
    """What an attacker would send: unpickling it makes a file."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self._marker,)


def with_extension(file: Path, column: str, extension: str, metadata: bytes) -> None:
    """Let a column of a Parquet file say that it is of an Arrow extension type."""
    table = pq.read_table(file)
    place = table.schema.get_field_index(column)
    marks = {b"ARROW:extension:name": extension.encode(), b"ARROW:extension:metadata": metadata}
    pq.write_table(table.cast(table.schema.set(place, table.schema.field(place).with_metadata(marks))), file)
    assert pq.read_schema(file).field(place).metadata[b"ARROW:extension:name"] == extension.encode()


def test_the_payload_is_one(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    pickle.loads(pickle.dumps(Payload(marker)))  # noqa: S301 - the control
    assert marker.exists()


def read_with(extension: str, folder: Path, executor: Executor) -> None:
    """Look at a log whose columns have an extension type, and write its features: nothing of it may be run."""
    marker = folder / "marker"
    file = write_sample(folder / "sample", users=12)
    for path in (folder / "sample" / "shop").iterdir():
        pl.read_parquet(path).with_columns(note=pl.lit("x")).write_parquet(path)
        # A column that the run reads, and one that it does not.
        for column in ("total", "note"):
            with_extension(path, column, extension, pickle.dumps(Payload(marker)))
    config = configuration(file, out=str(folder / "out"))
    # Refused with a word, or read as the plain columns that they are: both are safe.
    with suppress(DataError):
        check_run(config, AS_OF, executor=executor)
    with suppress(DataError):
        features_run(config, AS_OF, folder / "features", executor=executor)
    assert not marker.exists()


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_metadata_of_a_parquet_file_is_not_run(tmp_path: Path, extension: str) -> None:
    read_with(extension, tmp_path, LocalExecutor())


@pytest.mark.ray
@pytest.mark.parametrize(
    "extension", [EXTENSIONS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in EXTENSIONS[1:])]
)
def test_nor_is_it_by_a_worker_of_ray(tmp_path: Path, ray_session: None, extension: str) -> None:
    from engine.execution.on_ray import ray_executor

    with ray_executor(Execution(executor="ray")) as executor:
        read_with(extension, tmp_path, executor)


def test_an_extension_type_that_this_process_knows(tmp_path: Path) -> None:
    # pyarrow builds the type from its metadata when a class for it is registered: none of ours is.
    field = pa.field("a", pa.int64(), metadata={b"ARROW:extension:name": EXTENSIONS[0].encode()})
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table([[1]], schema=pa.schema([field])), path)
    assert pq.read_schema(path).field(0).type == pa.int64()
