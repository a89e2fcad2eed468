"""Who else on this machine can read or change what a run writes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from engine.doctor.finding import Finding, Subject, failed, ok, warning

_OTHERS_WRITE: Final = stat.S_IWOTH
_OTHERS_READ: Final = stat.S_IROTH | stat.S_IXOTH


def check_output_folder(subject: Subject) -> Iterator[Finding]:
    """The output root and the folders above it: nobody else may put tables or bundles there."""
    place = nearest(subject.out)
    mode = stat.S_IMODE(place.stat().st_mode)
    said = f"{place} has mode {mode:04o}"
    measured: dict[str, Any] = {"path": str(place), "mode": f"{mode:04o}"}
    open_folder = _open_to_change(place)
    if not os.access(place, os.W_OK | os.X_OK):
        fix = "Give this user the right to write there, or choose another folder with --out"
        yield failed("output_folder", f"{said}, and this user cannot write there", fix, **measured)
    elif open_folder is not None:
        # Below a folder like /tmp the output root itself is not there yet: only its owner can replace it once it is.
        yield failed(
            "output_folder",
            f"everybody on this machine can change {open_folder}",
            f"chmod o-w {open_folder}, or choose another folder with --out",
            **measured,
        )
    elif place == subject.out and mode & _OTHERS_READ and _is_reachable(place):
        yield warning(
            "output_folder",
            f"{said}: everybody on this machine can read the tables, which tell of people",
            f"chmod o-rwx {place}",
            **measured,
        )
    else:
        yield ok("output_folder", said if place == subject.out else f"{subject.out} can be made", **measured)


def check_temporary_folder(subject: Subject) -> Iterator[Finding]:
    """The system's temporary folder: what several users share must keep them from each other's files."""
    folder = subject.surroundings.temporary
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        yield failed("temporary_folder", f"{folder} cannot be written to", "Set TMPDIR to a folder that can be")
        return
    mode = stat.S_IMODE(folder.stat().st_mode)
    said = f"{folder} has mode {mode:04o}"
    measured: dict[str, Any] = {"path": str(folder), "mode": f"{mode:04o}"}
    if mode & _OTHERS_WRITE and not mode & stat.S_ISVTX:
        fix = f"chmod +t {folder}, or set TMPDIR to a folder of your own"
        yield failed("temporary_folder", f"{said}: everybody can replace the files of others there", fix, **measured)
    else:
        yield ok("temporary_folder", said, **measured)


def check_ray_folder(subject: Subject) -> Iterator[Finding]:
    """Session folders that Ray, started by this user with its own defaults, has left open to everybody (mode 0777)."""
    if subject.execution.executor != "ray":
        return
    environment = subject.surroundings.environment
    folder = Path(environment.get("RAY_TMPDIR") or subject.surroundings.temporary) / "ray"
    try:
        status = folder.stat()
    except OSError:
        yield ok("ray_folder", f"no sessions in {folder}", path=str(folder))
        return
    mode = stat.S_IMODE(status.st_mode)
    measured = {"path": str(folder), "mode": f"{mode:04o}"}
    if status.st_uid == os.geteuid() and mode & 0o077 and _is_reachable(folder.parent):
        yield warning(
            "ray_folder",
            f"{folder} has mode {mode:04o}: others can read the logs and sockets of a Ray that was started by hand",
            f"chmod 700 {folder}, or set RAY_TMPDIR to a folder of mode 0700 before `ray start`",
            **measured,
        )
    else:
        yield ok("ray_folder", f"{folder} has mode {mode:04o}", **measured)


def nearest(path: Path) -> Path:
    """The folder itself, or the closest one above it that is there."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def is_readable_by_others(path: Path) -> bool:
    """Whether a user who is neither the owner nor in the group of a file can read it, or change it."""
    return bool(path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH)) and _is_reachable(path.parent)


def _open_to_change(place: Path) -> Path | None:
    """The folder on the way to `place` in which everybody can replace it; None when there is none."""
    for folder in (place, *place.parents):
        mode = folder.stat().st_mode
        if mode & _OTHERS_WRITE and not mode & stat.S_ISVTX and _is_reachable(folder):
            return folder
    return None


def _is_reachable(folder: Path) -> bool:
    """Whether everybody may pass through all folders above `folder`."""
    return all(above.stat().st_mode & stat.S_IXOTH for above in folder.parents)
