"""`tamis doctor`: whether this machine is fit for a run, and what to do where it is not."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.errors import ConfigError
from jobs.console import clean, print_json, write
from jobs.options import DEFAULT_CONFIG, Address, AsJson, Assignments, ExecutorName, Out, Quiet
from jobs.session import Settings, load

if TYPE_CHECKING:
    from engine.doctor.finding import Finding, Subject

_DEFAULT_OUT = "out"


def doctor(
    *,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", metavar="FILE", help="The configuration file; tamis.toml when it is there."),
    ] = None,
    probe_remote: Annotated[
        bool,
        typer.Option("--probe-remote", help="Also write an object to the object store of the tables, and delete it."),
    ] = False,
    out: Out = None,
    executor: ExecutorName = None,
    address: Address = None,
    assignments: Assignments = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Check versions, memory, disk, folder modes, clock and cluster before a run, and print what to do."""
    from engine.doctor.examine import examine
    from engine.doctor.finding import exit_code_of, status_of

    begun = time.perf_counter()
    subject, findings = _subject(config, Settings(assignments or (), out, executor, address))
    if not as_json:
        for finding in findings:
            _print(finding, quiet=quiet)
    for finding in examine(subject, probe_remote=probe_remote):
        findings.append(finding)
        if not as_json:
            _print(finding, quiet=quiet)
    code = exit_code_of(findings)
    if as_json:
        print_json(
            {
                "status": status_of(findings),
                "exit_code": int(code),
                "seconds": round(time.perf_counter() - begun, 2),
                "findings": [finding.to_dict() for finding in findings],
            }
        )
    elif not quiet:
        _print_summary(findings)
    return code


def _subject(path: Path | None, settings: Settings) -> tuple[Subject, list[Finding]]:
    """What is to be checked, and what was found on the way: a configuration that cannot be read is a finding."""
    from engine.config import Execution
    from engine.doctor.finding import Subject, Surroundings, failed, ok

    surroundings = Surroundings(os.environ, Path.home(), Path(tempfile.gettempdir()))
    wanted = path if path is not None else DEFAULT_CONFIG if DEFAULT_CONFIG.is_file() else None
    if wanted is not None:
        try:
            config = load(wanted, settings).config
        except ConfigError as error:
            found = failed("configuration", error.message, error.hint, file=str(wanted), code=error.code)
        else:
            found = ok("configuration", str(wanted), file=str(wanted))
            subject = Subject(surroundings, Path(config.out).absolute(), config.execution, config, wanted)
            return subject, [found]
    else:
        found = ok("configuration", "none: the defaults are checked", file=None)
    execution = Execution().model_copy(
        update={
            name: value
            for name, value in {"executor": settings.executor, "address": settings.address}.items()
            if value is not None
        }
    )
    return Subject(surroundings, Path(settings.out or _DEFAULT_OUT).absolute(), execution), [found]


def _print(finding: Finding, *, quiet: bool) -> None:
    if quiet and finding.status == "ok":
        return
    write(sys.stdout, clean(f"{finding.status:<8} {finding.check}: {finding.said}"))
    if finding.fix:
        write(sys.stdout, clean(f"{'':<8} fix: {finding.fix}"))


def _print_summary(findings: list[Finding]) -> None:
    counts = {status: sum(finding.status == status for finding in findings) for status in ("ok", "warning", "failed")}
    write(sys.stdout, f"{len(findings)} checks: " + ", ".join(f"{count} {status}" for status, count in counts.items()))
