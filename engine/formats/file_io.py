"""Files of Iceberg tables in object stores, opened as all others: the same environment, limits and endpoint."""

from __future__ import annotations

from typing import Any

from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.typedef import EMPTY_DICT, Properties

from engine.remote.stores import open_store


class StoreFileIO(PyArrowFileIO):
    """What pyiceberg reads and writes files with; a catalogue takes it by its name."""

    def __init__(self, properties: Properties = EMPTY_DICT) -> None:
        super().__init__(properties)
        other = self.fs_by_scheme

        def by_scheme(scheme: str, netloc: str | None) -> Any:
            if scheme in {"s3", "gs", "az"}:
                return open_store(f"{scheme}://{netloc}/")[0]
            return other(scheme, netloc)

        self.fs_by_scheme = by_scheme
