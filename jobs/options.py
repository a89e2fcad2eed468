"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from engine.errors import ExitCode

_RUN = "Where and how it runs"
_OUTPUT = "What it prints"
_WHEN = "When it may begin"
_WATCH = "What it tells others"


def _free_code(code: int) -> int:
    """A code that says nothing else, or 0."""
    taken = [int(known) for known in ExitCode if known]
    if code in taken:
        raise typer.BadParameter(f"{code} means something else already, as do {', '.join(map(str, taken))}")
    return code


ConfigFile = Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The configuration file.")]
AsOf = Annotated[
    str,
    typer.Option(
        "--as-of", metavar="YYYY-MM-DD", help="The day of the run; events at or after its midnight do not count."
    ),
]
PublishedDay = Annotated[
    str | None,
    typer.Option("--as-of", metavar="YYYY-MM-DD", help="A published date; the latest when not given."),
]
OptionalAsOf = Annotated[
    str | None, typer.Option("--as-of", metavar="YYYY-MM-DD", help="Count events at or after this day as future ones.")
]
Out = Annotated[str | None, typer.Option("--out", metavar="DIR", help="Folder of the tables.", rich_help_panel=_RUN)]
ExecutorName = Annotated[
    Literal["local", "ray"] | None, typer.Option("--executor", help="In this process, or on Ray.", rich_help_panel=_RUN)
]
Address = Annotated[
    str | None, typer.Option("--address", metavar="HOST:PORT", help="Ray cluster to join.", rich_help_panel=_RUN)
]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Replace one value of the configuration; repeatable.", rich_help_panel=_RUN
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="One JSON object on stdout, also on failure.", rich_help_panel=_OUTPUT)
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.", rich_help_panel=_OUTPUT)]
NoopExitCode = Annotated[
    int,
    typer.Option(
        "--noop-exit-code",
        metavar="N",
        min=0,
        max=125,
        callback=_free_code,
        help="Exit code of a run that is done already, such as 99, which Airflow takes for skipped.",
        rich_help_panel=_WATCH,
    ),
]
LogFormat = Annotated[
    Literal["text", "json"] | None,
    typer.Option("--log-format", help="Sentences on stderr, or one JSON object per line.", rich_help_panel=_WATCH),
]
LogFile = Annotated[
    str | None,
    typer.Option("--log-file", metavar="FILE", help="Append the log to a file.", rich_help_panel=_WATCH),
]
MetricsFile = Annotated[
    str | None,
    typer.Option(
        "--metrics-file", metavar="FILE", help="Write metrics for Prometheus at the end.", rich_help_panel=_WATCH
    ),
]
NotifyCommand = Annotated[
    str | None,
    typer.Option(
        "--notify-command",
        metavar="COMMAND",
        help="Run this program when the run fails or is held, with JSON on its stdin.",
        rich_help_panel=_WATCH,
    ),
]
NotifyOn = Annotated[
    Literal["failure", "always"] | None,
    typer.Option("--notify-on", help="When it is run.", rich_help_panel=_WATCH),
]
Bundle = Annotated[
    Path | None,
    typer.Option(
        "--bundle", metavar="DIR", help="The bundle to score with; the latest that fits the day when not given."
    ),
]

Accept = Annotated[
    list[str] | None,
    typer.Option(
        "--accept",
        metavar="GUARD[:SEGMENT]",
        help="Publish although this guard holds the run back; repeatable.",
    ),
]

IfDone = Annotated[
    Literal["again", "skip"] | None,
    typer.Option(
        "--if-done",
        help="When the same is published already: do it again, or say so and end. By default as schedule.if_done says.",
        rich_help_panel=_WHEN,
    ),
]
WaitForLock = Annotated[
    float | None,
    typer.Option(
        "--wait-for-lock",
        metavar="SECONDS",
        min=0,
        help="Wait so long for another run to end. By default as schedule.overlap says.",
        rich_help_panel=_WHEN,
    ),
]
AllowFuture = Annotated[
    bool,
    typer.Option("--allow-future", help="Also for a day that has not come yet.", rich_help_panel=_WHEN),
]
WithReport = Annotated[
    bool,
    typer.Option("--report", help="Also write the report of the day, for people to read.", rich_help_panel=_OUTPUT),
]

DEFAULT_CONFIG = Path("tamis.toml")
