"""What a run does first: finish what an erasure that was cut short has left."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine.erasure.journal import journals_folder

if TYPE_CHECKING:
    from engine.config import Config


def finish_erasures_first(config: Config) -> None:
    """Finish erasures that were cut short; nothing is loaded or looked at when there are none.

    A run over tables that still hold somebody would write that they left.

    Raises:
        ConflictError: Another run is writing to the output.
        IntegrityError: A file still names somebody after all was done.
    """
    if journals_folder(Path(config.out)).is_dir():
        from engine.erasure.erase import finish_erasures

        finish_erasures(config)
