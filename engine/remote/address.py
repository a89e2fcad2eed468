"""Addresses of files in object stores: `s3://bucket/key`, `gs://bucket/key`, `az://container/key`."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

SCHEMES: Final = ("s3", "gs", "az")
_ADDRESS: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_SUFFIX: Final = re.compile(r"(?:\.[A-Za-z0-9]{1,8}){1,2}$")


@dataclass(frozen=True, order=True)
class RemoteFile:
    """A file of an object store as it was listed.

    Attributes:
        url: Its address.
        size: Bytes.
        modified_ns: Time of its last change (ns since 1970 UTC), as exact as the store's listing tells it.
    """

    url: str
    size: int
    modified_ns: int

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """The last part of the address."""
        return PurePosixPath(self.url).name

    @property
    def stamp(self) -> tuple[int, int]:
        """Size and time of change."""
        return self.size, self.modified_ns

    def hive_folders(self) -> list[str]:
        """The `key=value` folders above it, outermost first."""
        return [part for part in PurePosixPath(self.url).parent.parts if "=" in part]

    def local_name(self) -> str:
        """A file name of its own for a copy, with the ending that tells its kind."""
        identity = f"{self.url}\0{self.size}\0{self.modified_ns}"
        ending = _SUFFIX.search(self.name)
        return hashlib.sha256(identity.encode()).hexdigest()[:32] + (ending[0].lower() if ending else "")


def is_remote(text: str) -> bool:
    """Whether a text is an address in one of the stores that can be used."""
    found = _ADDRESS.fullmatch(text)
    return found is not None and found[1].lower() in SCHEMES


def split(url: str) -> tuple[str, str]:
    """The scheme of an address, and bucket and key as `bucket/key` without slashes at its ends."""
    scheme, _, rest = url.partition("://")
    return scheme.lower(), rest.strip("/")
