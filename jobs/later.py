"""Commands that are made when one is wanted: `tamis --help` needs no more than the name and a sentence of each."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


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


def add_command_later(app: typer.Typer, name: str, attribute: str, *, help_text: str, panel: str) -> None:
    """Add the command `name` to an app; its options are made when it is called, helped with or completed.

    Args:
        app: The app.
        name: Of the command.
        attribute: Module and name of its function, such as "jobs.why:why".
        help_text: The first paragraph of the function's docstring.
        panel: Where the help of the app lists it.
    """
    module, _, variable = attribute.partition(":")

    class Later(TyperCommand):
        made = False

        def get_params(self, ctx: Any) -> list[Any]:
            if not self.made:
                alone = typer.Typer(add_completion=False)
                alone.command(name)(getattr(import_module(module), variable))
                real = typer.main.get_command(alone)
                self.params, self.callback, self.made = real.params, real.callback, True
            return super().get_params(ctx)

    app.command(name, cls=Later, help=help_text, rich_help_panel=panel)(lambda: None)
