"""Whom a run would withhold of the users of a published date: who has withdrawn since by the log, or objects by now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.config import Config
from engine.errors import TamisError
from engine.stages.permits_now import standing
from engine.why.published import Published

if TYPE_CHECKING:
    import polars as pl


def standing_of(
    config: Config, published: Published, purposes: Sequence[str] = ()
) -> tuple[pl.DataFrame | None, tuple[str, ...]]:
    """What users of a published date agreed to as of it, and what cannot be told of it.

    Args:
        config: The configuration.
        published: The date.
        purposes: What users must have agreed to beside `consent.process`.

    Returns:
        `user_id`, `withheld` and `agreed` of all published users, None where nothing is asked; and a note where the
        log, a list or the key is not at hand: everybody is counted then.

    Raises:
        ConfigError: Purposes that nobody can have agreed to.
        TamisError: With purposes: a log, a list or a key that cannot be used.
    """
    files = [str(path) for path in published.files("features")]
    users = published.read("features", ["user_id"])["user_id"]
    try:
        return standing(config, published.as_of, users, files, purposes), ()
    except TamisError as error:
        if purposes:
            raise
        first = error.message.splitlines()[0]
        return None, (f"who is withheld by now is not known here, and counted, too: {first}",)
