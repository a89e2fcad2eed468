"""Writes bundles, promotes them and rolls them back, over and over, until it is killed."""

from __future__ import annotations

import itertools
import sys
from datetime import timedelta
from pathlib import Path

from engine.bundle_store import promote_bundle, rollback_bundle, write_bundle
from engine.tables.workspace import workspace
from tests.bundles import DAY, bundle

KINDS = 7


def main() -> None:
    out = Path(sys.argv[1])
    print("ready", flush=True)
    for turn in itertools.count():
        # Some bundles come again, most are new.
        number = turn % KINDS + (turn // KINDS if turn % 3 else 0)
        with workspace(out, "fit") as work:
            made = bundle(number, as_of=DAY + timedelta(days=number % 5))
            folder = write_bundle(made, work / "bundle", out, promote=turn % 4 != 2)
        if turn % 6 == 4:
            promote_bundle(out, folder.name)
        if turn % 6 == 5:
            rollback_bundle(out)


if __name__ == "__main__":
    main()
