"""Erases a person until the effect of a given number, at which the process is killed."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from engine.config_file import load_config
from engine.erasure.erase import erase_people
from tests.erasure.dying import Effects


def main() -> None:
    config, user, last = sys.argv[1:]
    loaded = load_config(Path(config)).config
    with Effects(int(last), die=lambda: os.kill(os.getpid(), signal.SIGKILL)).patched():
        erase_people(loaded, [user], "ticket")


if __name__ == "__main__":
    main()
