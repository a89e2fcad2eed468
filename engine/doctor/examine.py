"""All checks, in the order in which they are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from engine.doctor.clock import check_encoding, check_time_zones
from engine.doctor.cluster import check_cluster, check_token
from engine.doctor.credentials import check_secret_files, check_secrets_in_configuration
from engine.doctor.disk_probe import check_disk
from engine.doctor.finding import Finding, Subject, failed
from engine.doctor.folders import check_output_folder, check_ray_folder, check_temporary_folder
from engine.doctor.limits import check_core_dumps, check_open_files
from engine.doctor.loading import check_loading, loading, modules_of
from engine.doctor.remote_probe import check_remote
from engine.doctor.resources import check_cpus, check_memory
from engine.doctor.space import check_output_space, check_temporary_space
from engine.doctor.versions import check_versions
from engine.doctor.watching import check_watch
from engine.errors import ExitCode

Check = Callable[[Subject], Iterator[Finding]]

_OF_THE_MACHINE: Final[tuple[Check, ...]] = (
    check_memory,
    check_cpus,
    check_open_files,
    check_core_dumps,
    check_output_folder,
    check_output_space,
    check_disk,
    check_temporary_folder,
    check_temporary_space,
    check_ray_folder,
    check_secret_files,
    check_secrets_in_configuration,
    check_watch,
    check_encoding,
)


def examine(subject: Subject, *, probe_remote: bool = False) -> Iterator[Finding]:
    """Check everything that a run of `subject` needs; each finding as it is known.

    Nothing is changed, and what a check writes is gone when it ends.

    Args:
        subject: What is checked.
        probe_remote: Whether an object is written to the object store of the tables, and deleted again.
    """
    with loading(modules_of(subject)) as children:
        yield from _guarded(check_versions, subject)
        for check in _OF_THE_MACHINE:
            yield from _guarded(check, subject)
        loads = list(check_loading(children))
    yield from loads
    # These load the libraries into this process, which one that is broken would end.
    if all(finding.status != "failed" for finding in loads):
        yield from _guarded(check_time_zones, subject)
        if probe_remote:
            yield from _guarded(check_remote, subject)
        yield from _guarded(check_token, subject)
        yield from _guarded(check_cluster, subject)


def _guarded(check: Check, subject: Subject) -> Iterator[Finding]:
    """The findings of a check; what the system refuses it is one too, and the others go on."""
    try:
        yield from check(subject)
    except OSError as error:
        name = check.__name__.removeprefix("check_")
        where = f" {error.filename}" if error.filename else ""
        said = f"could not be checked:{where} {error.strerror or error}"
        yield failed(name, said, "Let this user read it, or look at it by hand", ExitCode.USAGE)
