"""The command line: `tamis COMMAND`. Nothing heavy is imported before the body of a command."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NoReturn

import typer
from typer.core import TyperGroup

from engine.errors import ConfigError
from jobs.console import run_guarded, write
from jobs.later import add_command_later, add_later
from jobs.options import AsJson, Quiet

_EXIT_CODES = """Exit codes:
0 done, or already done · 1 a bug · 2 usage or configuration
3 data refused · 4 held by a gate or guard · 5 conflict with another run
6 resources (memory, disk, time) · 7 integrity (checksum, manifest, bundle)
75 transient, try again · 130 interrupted · 143 terminated"""


class GuardedGroup(TyperGroup):
    """The commands, with every failure turned into a message and an exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Run the command in `args` and exit with its code, whatever happens."""
        del standalone_mode
        arguments = sys.argv[1:] if args is None else list(args)
        call = super().main

        def command() -> object:
            return call(arguments, prog_name or "tamis", complete_var, False, windows_expand_args, **extra)

        sys.exit(run_guarded(command, as_json="--json" in arguments))


app = typer.Typer(
    name="tamis",
    cls=GuardedGroup,
    help="Event logs in, segments out: features, propensity scores, clusters and partitioned segment tables.",
    epilog=_EXIT_CODES,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if not wanted:
        return
    import platform
    from importlib.metadata import PackageNotFoundError, version

    def installed(name: str) -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return "not installed"

    write(sys.stdout, f"tamis {installed('tamis')}")
    libraries = ", ".join(f"{name} {installed(name)}" for name in ("polars", "ray", "lightgbm", "pyarrow"))
    write(sys.stdout, f"python {platform.python_version()}, {libraries}")
    raise typer.Exit


def _require(wanted: str | None) -> None:
    """Refuse to be another version than the one that submitted a job: its id would name other code than ran."""
    if wanted is None:
        return
    from importlib.metadata import version

    here = version("tamis")
    if here != wanted:
        raise ConfigError(
            f"the job was submitted by Tamis {wanted}, the cluster has {here}",
            code="cluster-version",
            hint="Install the same version on both, then submit the job again.",
        )


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", "-V", is_eager=True, callback=_print_version, help="Print the versions and exit."),
    ] = False,
    require: Annotated[
        str | None,
        typer.Option("--require", metavar="VERSION", callback=_require, hidden=True, help="Only as this version."),
    ] = None,
) -> None:
    del version, require
    gc.enable()


def _later(name: str, panel: str, sentence: str) -> None:
    add_command_later(app, name, f"jobs.{name}:{name}", help_text=sentence, panel=panel)


_later(
    "init",
    "Begin",
    "Look at event files, guess what their columns mean, and write a commented tamis.toml that runs.",
)


@app.command(rich_help_panel="Begin")
def demo(
    *,
    out: Annotated[
        str, typer.Option("--out", metavar="DIR", help="Folder of everything the demo writes.")
    ] = "demo-out",
    as_of: Annotated[str, typer.Option("--as-of", metavar="YYYY-MM-DD", help="The day of the run.")] = "2018-01-01",
    executor: Annotated[
        Literal["local", "ray"], typer.Option("--executor", help="In this process, or on Ray.")
    ] = "local",
    address: Annotated[str | None, typer.Option("--address", metavar="HOST:PORT", help="Ray cluster to join.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Segment 2,469 real households (Complete Journey) and say what came out."""
    from jobs.demo import demo as run_demo
    from jobs.session import parse_day

    day = parse_day(as_of)
    run_demo(out=out, as_of=day, executor=executor, address=address, as_json=as_json, quiet=quiet)


_later("check", "Run", "Read the event logs and count what would be kept, repeated or rejected; nothing is published.")
_later("fit", "Run", "Learn what stays still between runs: RFM edges, clusters and propensity models, in one bundle.")
_later("score", "Run", "Compute features, score every user, assign segments and publish the tables of one day.")
_later("run", "Run", "Fit when there is no valid bundle or the last one is old, then score.")
_later(
    "backfill",
    "Run",
    "Run the dates that are missing or for which late data came, the earliest first, and leave what is done.",
)
_later(
    "submit",
    "On a cluster",
    "Run a command as a job of a Ray cluster; the same job, date and configuration is the same job.",
)
_later(
    "status",
    "On a cluster",
    "List the submitted jobs that a Ray cluster remembers, the latest first, or say how one of them is.",
)
_later("logs", "On a cluster", "Print what a submitted job has written; to follow it changes nothing about it.")
_later("stop", "On a cluster", "End a submitted job, and wait until it has; the published tables stay as they are.")
_later(
    "plan",
    "Run",
    "Say what a run would do and why, how long it takes and what it needs, before anything runs.",
)
_later("ddl", "Hand over", "Print the statements that make the published tables in a warehouse and fill them.")
_later(
    "export",
    "Hand over",
    "Write the users of segments as files that an e-mail tool imports, and say where every user of them went.",
)
_later("publish", "Hand over", "Commit to Delta or Iceberg tables what is published in the folder and not in them yet.")
add_later(app, "load", "jobs.load:load_app", help_text="Load published tables into a database.", panel="Hand over")
_later(
    "diff",
    "Inspect",
    "Print who entered and left each segment between two published dates, and the moves within a group.",
)
_later(
    "consent",
    "Inspect",
    "Print who agreed to what as of a day: granted, withdrawn and never asked, by purpose, form version and source.",
)
_later("explain", "Inspect", "Say in words what raised or lowered the scores of some users as of a day.")
_later("quality", "Inspect", "Print what was measured of the data of a published date, against the dates before.")
_later(
    "report",
    "Inspect",
    "Write a page of a published date for people: one HTML file with figures, in English and French.",
)
_later(
    "show",
    "Inspect",
    "Print the report of a published date: the segments with their trends, and what was found.",
)
_later(
    "validate",
    "Inspect",
    "Compare the published scores of past dates with what happened in the horizon after them.",
)
_later(
    "why",
    "Inspect",
    "Say why a user is in a segment or not: each clause with its value, the events counted, points and changes.",
)
_later(
    "subject",
    "Inspect",
    "Hand out everything that is held about a person: rows of all tables, contacts, consents, exports.",
)
_later(
    "gc", "Keep", "Remove what no reader needs; published dates only when they are beyond every limit that is given."
)
_later(
    "erase",
    "Keep",
    "Erase people from everything that was written about them, for good; a later run does not bring them back.",
)
_later(
    "retention",
    "Keep",
    "Find what has been kept for too long: people, dates of tables, records and exports; with --yes it goes.",
)
_later("task", "Keep", "Run one failed task of a run by itself, on a copy, or list the failed ones.")
_later("verify", "Keep", "Compare tables, bundles and rollups with the checksums that were written with them.")
add_later(
    app,
    "suppress",
    "jobs.suppress:suppress_app",
    help_text="Keep the list of people who object to any use of their data, as keyed hashes.",
    panel="Keep",
)
_later(
    "doctor",
    "Keep",
    "Check versions, memory, disk, folder modes, clock and cluster before a run, and print what to do.",
)
for _name, _help in (
    ("bundle", "Look at what fits have learnt, and choose which of it is used."),
    ("clusters", "Look at the clusters of users that fits have found."),
    ("config", "Look at the configuration."),
    ("duplicates", "Find contacts of one person, merge them, and undo it."),
    ("features", "Look at the feature columns, or write their table."),
    ("points", "Look at the score cards, and at what their rules tell."),
    ("rollup", "Look at the rollup store, or mend it."),
    ("runs", "Look at the runs there were: what each did, how long it took, and how it ended."),
    ("segments", "Look at the segments, check them, and try rules."),
    ("tables", "Look at Delta or Iceberg tables, and keep them small."),
):
    add_later(app, _name, f"jobs.{_name}:{_name}_app", help_text=_help, panel="Inspect")


def main() -> None:
    """Run the command that the process was started with."""
    # What the help is made of is small and stays: to look for garbage in it takes a twentieth of its time. The callback
    # of the app, which no help reaches and every command passes, turns the collector on again.
    gc.disable()
    # Read when Polars loads: freed memory is kept for the next frame for a second, and not given back at once.
    os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:1000,muzzy_decay_ms:0")
    app()
