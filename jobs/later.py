"""Groups of commands that are made when one of them is wanted: `tamis --help` needs no more than their names."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup


def add_later(app: typer.Typer, name: str, attribute: str, *, help_text: str, panel: str) -> None:
    """Add the group `name` to an app.

    Args:
        app: The app.
        name: Of the group.
        attribute: Module and name of the `typer.Typer` with its commands, such as "jobs.config:config_app".
        help_text: One sentence.
        panel: Where the help of the app lists it.
    """
    module, _, variable = attribute.partition(":")

    class Later(TyperGroup):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            self.commands.update(typer.main.get_group(getattr(import_module(module), variable)).commands)
            return super().parse_args(ctx, args)

    app.add_typer(typer.Typer(), name=name, cls=Later, help=help_text, rich_help_panel=panel)
