"""What the file system of the output root can do: a write, sync, rename, exchange and lock, tried and taken back."""

from __future__ import annotations

import os
import secrets
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filelock import Timeout

from engine.doctor.clock import check_clock
from engine.doctor.finding import Finding, Subject, failed, ok, warning
from engine.doctor.folders import nearest
from engine.errors import ExitCode, TamisError
from engine.tables import disk, effects
from engine.tables.layout import work_root

_BYTES: Final = 1 << 20
_SLOW_MS: Final = 500.0
# Their locks are leases: a machine that sleeps, or a broken link, loses them while the process lives.
_NETWORK: Final = ("nfs", "nfs4", "cifs", "smb3", "ceph", "lustre", "gpfs", "9p", "afs")
_FUSE: Final = "fuse"
_IN_MEMORY: Final = ("tmpfs", "ramfs")


@dataclass(frozen=True)
class _Timings:
    write_ms: float
    sync_ms: float
    rename_ms: float
    skew_seconds: float


def check_disk(subject: Subject) -> Iterator[Finding]:
    """Try at the output root what a run does there, in a hidden folder that is gone afterwards."""
    work = work_root(subject.out)
    place = work if work.is_dir() else nearest(subject.out)
    folder = place / f".doctor-{secrets.token_hex(6)}"
    try:
        findings = _tried(folder, file_system(place, subject.surroundings.proc))
    except TamisError as error:
        yield failed("disk", error.message, error.hint, error.exit_code)
    except OSError as error:
        said = f"{place} cannot be used: {error.strerror or error}"
        yield failed("disk", said, "Choose a folder on another disk with --out", ExitCode.RESOURCES)
    else:
        yield from findings


def file_system(place: Path, proc: Path) -> str:
    """Type of the file system that a folder lies on, such as `ext4`; empty where the system does not tell."""
    found, longest = "", -1
    resolved = place.resolve()
    with suppress(OSError):
        for line in (proc / "self" / "mounts").read_text(encoding="utf-8", errors="replace").splitlines():
            fields = line.split()
            # Blanks are written as octal digits there.
            mount = Path(fields[1].replace("\\040", " "))
            if resolved.is_relative_to(mount) and len(mount.parts) >= longest:
                found, longest = fields[2], len(mount.parts)
    return found


def _tried(folder: Path, kind: str) -> list[Finding]:
    disk.make_folder(folder)
    try:
        timings = _write(folder)
        return [
            _disk(folder.parent, kind, timings),
            _exchange(folder),
            _lock(folder, kind),
            check_clock(timings.skew_seconds),
        ]
    finally:
        disk.remove_tree(folder)


def _write(folder: Path) -> _Timings:
    """Time a write of 1 MiB, its sync and its rename with the sync of the folder.

    Raises:
        TamisError: The file system refuses one of them.
        OSError: What was written is not what is read.
    """
    content, target = os.urandom(_BYTES), folder / "probe"
    times = [time.perf_counter()]
    temporary, handle = disk.create_temporary(target)
    with disk.storage_errors(folder), handle:
        handle.write(content)
        handle.flush()
        times.append(time.perf_counter())
        disk.sync_file(handle, temporary)
        times.append(time.perf_counter())
    skew = temporary.stat().st_mtime - time.time()
    begun = time.perf_counter()
    disk.rename(temporary, target)
    disk.sync_folder(folder)
    renamed = time.perf_counter() - begun
    if target.read_bytes() != content or temporary.exists():
        message = "a file is not what was written to it, or has its old name after a rename"
        raise OSError(None, message)
    return _Timings(1000 * (times[1] - times[0]), 1000 * (times[2] - times[1]), 1000 * renamed, skew)


def _disk(place: Path, kind: str, timings: _Timings) -> Finding:
    measured = {
        "path": str(place),
        "file_system": kind,
        "write_ms": round(timings.write_ms, 2),
        "sync_ms": round(timings.sync_ms, 2),
        "rename_ms": round(timings.rename_ms, 2),
    }
    said = (
        f"{kind or 'file system'} at {place}: 1 MiB written in {timings.write_ms:.1f} ms, "
        f"synced in {timings.sync_ms:.1f} ms, renamed in {timings.rename_ms:.1f} ms"
    )
    if kind in _IN_MEMORY:
        return warning("disk", f"{said}; it is gone when the machine stops", "Choose a folder on a disk", **measured)
    if timings.sync_ms > _SLOW_MS or timings.rename_ms > _SLOW_MS:
        fix = "Choose a faster disk, or larger files: raise execution.rows_per_task"
        return warning("disk", f"{said}; every published file waits that long", fix, **measured)
    return ok("disk", said, **measured)


def _exchange(folder: Path) -> Finding:
    first, second = folder / "first", folder / "second"
    for one in (first, second):
        disk.make_folder(one)
    disk.create_empty(first / "mark")
    with disk.storage_errors(folder):
        done = effects.swap(first, second)
    if not done:
        return warning(
            "exchange",
            "two folders cannot change places in one instant: a date that is published again is missing for a moment",
            "Choose a disk with such a rename (ext4, XFS, Btrfs, tmpfs, APFS), or let readers follow the manifest",
            exchange=False,
        )
    if not (second / "mark").exists() or (first / "mark").exists():
        return failed(
            "exchange",
            "the file system says that two folders changed places, and they did not",
            "Choose a folder on another disk with --out",
            ExitCode.INTEGRITY,
            exchange=False,
        )
    return ok("exchange", "two folders change places in one instant", exchange=True)


def _lock(folder: Path, kind: str) -> Finding:
    path = folder / "lock"
    fix = "Choose a folder on a disk with locks (flock) for --out; only one run may write there until then"
    excludes = False
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            with disk.lock(path, 0):
                try:
                    with disk.lock(path, 0):
                        pass
                except Timeout:
                    excludes = True
        except (OSError, NotImplementedError, TamisError) as error:
            return failed("lock", f"files cannot be locked: {error}", fix, ExitCode.RESOURCES, file_system=kind)
    if not excludes:
        return failed("lock", "a lock does not keep others out", fix, ExitCode.RESOURCES, file_system=kind)
    if told:
        said = "the system has no locks here: a run that is killed leaves its mark, and the next one is refused"
        return warning("lock", said, fix, file_system=kind)
    if kind in _NETWORK or kind.startswith(_FUSE):
        return warning(
            "lock",
            f"locks work, and on {kind} a living holder can lose them: its run then stops before it publishes",
            "Start runs from one machine only, or choose a local disk and publish to an object store",
            file_system=kind,
        )
    return ok("lock", "a lock keeps others out", file_system=kind)
