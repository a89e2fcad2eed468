"""Files of Iceberg tables: in object stores opened as all others are, on file systems durable before they are named.

pyiceberg writes data, manifests and metadata, and then lets the catalogue point to them. The catalogue syncs its own
change, and pyiceberg syncs nothing: without what is here, a power failure could leave a catalogue on stable storage
that points to metadata which is not.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO
from pyiceberg.typedef import EMPTY_DICT, Properties

from engine.remote.stores import open_store
from engine.tables import disk, effects

if TYPE_CHECKING:
    from pyiceberg.io import OutputStream


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

    def new_output(self, location: str) -> PyArrowFile:
        """A file to write; on a file system it is on stable storage when it is closed."""
        scheme, netloc, path = self.parse_location(location, self.properties)
        if scheme != "file":
            return super().new_output(location)
        return _LocalOutput(location, path, self.fs_by_scheme(scheme, netloc))


class _LocalOutput(PyArrowFile):
    def create(self, overwrite: bool = False) -> OutputStream:  # noqa: FBT001, FBT002
        path = Path(self._path)
        disk.make_folder(path.parent)
        if overwrite:
            disk.remove_file(path)
        return _DurableFile(path)


class _DurableFile:
    """A new file; once it is closed, what was written and its name are on stable storage."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with disk.storage_errors(path.parent):
            self._handle = effects.create(path)

    @property
    def closed(self) -> bool:
        return self._handle.closed

    def write(self, data: bytes) -> int:
        with disk.storage_errors(self._path.parent):
            return self._handle.write(data)

    def tell(self) -> int:
        return self._handle.tell()

    def flush(self) -> None:
        with disk.storage_errors(self._path.parent):
            self._handle.flush()

    def close(self) -> None:
        if self.closed:
            return
        with disk.storage_errors(self._path.parent), self._handle:
            disk.sync_file(self._handle, self._path)
        disk.sync_folder(self._path.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
