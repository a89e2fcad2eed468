"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

_RUN = "Where and how it runs"
_OUTPUT = "What it prints"

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

DEFAULT_CONFIG = Path("tamis.toml")
