"""The command line: `tamis COMMAND`. Nothing heavy is imported before the body of a command."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NoReturn

import typer
from typer.core import TyperGroup

from jobs.check import check
from jobs.console import run_guarded, write
from jobs.ddl import ddl
from jobs.diff import diff
from jobs.explain import explain
from jobs.export import export
from jobs.fit import fit
from jobs.gc import gc
from jobs.init import init
from jobs.later import add_later
from jobs.options import AsJson, Quiet
from jobs.publish import publish
from jobs.run import run
from jobs.score import score
from jobs.session import parse_day
from jobs.validate import validate
from jobs.verify import verify
from jobs.why import why

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


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", "-V", is_eager=True, callback=_print_version, help="Print the versions and exit."),
    ] = False,
) -> None:
    del version


app.command(rich_help_panel="Begin")(init)


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
    day = parse_day(as_of)
    from jobs.demo import demo as run_demo

    run_demo(out=out, as_of=day, executor=executor, address=address, as_json=as_json, quiet=quiet)


app.command(rich_help_panel="Run")(check)
app.command(rich_help_panel="Run")(fit)
app.command(rich_help_panel="Run")(score)
app.command(rich_help_panel="Run")(run)
app.command(rich_help_panel="Hand over")(ddl)
app.command(rich_help_panel="Hand over")(export)
app.command(rich_help_panel="Hand over")(publish)
add_later(app, "load", "jobs.load:load_app", help_text="Load published tables into a database.", panel="Hand over")
app.command(rich_help_panel="Inspect")(diff)
app.command(rich_help_panel="Inspect")(explain)
app.command(rich_help_panel="Inspect")(validate)
app.command(rich_help_panel="Inspect")(why)
app.command(rich_help_panel="Keep")(gc)
app.command(rich_help_panel="Keep")(verify)
for _name, _help in (
    ("bundle", "Look at what fits have learnt, and choose which of it is used."),
    ("clusters", "Look at the clusters of users that fits have found."),
    ("config", "Look at the configuration."),
    ("features", "Look at the feature columns, or write their table."),
    ("points", "Look at the score cards, and at what their rules tell."),
    ("rollup", "Look at the rollup store, or mend it."),
    ("segments", "Look at the segments, check them, and try rules."),
    ("tables", "Look at Delta or Iceberg tables, and keep them small."),
):
    add_later(app, _name, f"jobs.{_name}:{_name}_app", help_text=_help, panel="Inspect")


def main() -> None:
    """Run the command that the process was started with."""
    # Read when Polars loads: freed memory is kept for the next frame for a second, and not given back at once.
    os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:1000,muzzy_decay_ms:0")
    app()
