"""An output root in an object store: the work is done in a local folder, and the tables go to the address."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from engine.remote.address import is_remote

STATE_FOLDER: Final = ".tamis"
_DIGITS: Final = 8


def with_local_state(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The values of a configuration with an `out` that is a local folder.

    Where `out` is an address, it becomes `publish.url`, the format is Delta unless it is given, and `out` becomes
    `publish.state`: the home of rollups, bundles, work and local tables.

    Args:
        values: The tables of the file, with absolute paths.
        folder: The folder of the configuration file, for the state that is not named: `.tamis/<hash of the address>`.
    """
    out, publish = values.get("out"), values.get("publish", {})
    if not (isinstance(out, str) and is_remote(out) and isinstance(publish, dict)):
        return dict(values)
    named = hashlib.sha256(out.rstrip("/").encode()).hexdigest()[:_DIGITS]
    state = publish.get("state") or str(folder / STATE_FOLDER / named)
    return {**values, "out": state, "publish": {"format": "delta", "url": out, **publish}}
