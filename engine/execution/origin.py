"""Which machine wrote something without waiting for the disk, and whether it can still be believed."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_MOUNTS: Final = Path("/proc/self/mountinfo")
_SHARED: Final = {"nfs", "nfs4", "cifs", "smb3", "ceph", "lustre", "gpfs", "glusterfs", "beegfs", "9p", "afs"}
_SHARED_FUSE: Final = {"fuse.glusterfs", "fuse.ceph", "fuse.ceph-fuse", "fuse.s3fs", "fuse.gcsfuse", "fuse.juicefs"}


@dataclass(frozen=True)
class Origin:
    """A machine since it was last started.

    Attributes:
        host: Its name.
        boot: Id of the start; empty where the system does not tell.
    """

    host: str
    boot: str


@cache
def this_origin() -> Origin:
    """The machine that this process runs on."""
    boot = ""
    with suppress(OSError):
        boot = _BOOT.read_text(encoding="ascii").strip()
    return Origin(socket.gethostname(), boot)


def is_believed(origin: Origin, here: Origin, *, shared: bool) -> bool:
    """Whether what a machine wrote, unsynced, is what one reads here now.

    It is while that machine has not been started again: the system knows what it has not put on the disk yet. Of a file
    system that several machines share, each of them hands over what it wrote when it closes a file.

    Args:
        origin: Who wrote it.
        here: Who reads it.
        shared: Whether it lies on a file system of several machines.
    """
    if origin.boot == here.boot:
        return bool(here.boot)
    return shared and origin.host != here.host


def is_shared(folder: Path) -> bool:
    """Whether a folder lies on a file system that several machines share; `False` where the system does not tell."""
    path = str(folder.resolve())
    kinds: dict[str, str] = {}
    with suppress(OSError, ValueError):
        for line in _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            fields = line.split(" ")
            place = fields[4].encode("utf-8", "surrogateescape").decode("unicode_escape")
            # The one that was mounted last at a place is the one that is seen.
            kinds[place] = fields[fields.index("-") + 1]
    above = [place for place in kinds if path == place or path.startswith(f"{place.rstrip('/')}/")]
    return bool(above) and kinds[max(above, key=len)] in _SHARED | _SHARED_FUSE
