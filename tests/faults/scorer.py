"""Scores two logs in turn into one output until it is killed; begins with the configuration named on standard input."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from engine.execution.local import LocalExecutor
from engine.pipeline import score_run
from engine.progress import ProgressEvent
from tests.samples import AS_OF, configuration


def say(text: str) -> None:
    print(text, flush=True)


def tell(event: ProgressEvent) -> None:
    if event.stage == "score" and event.done == event.total:
        say("publishing")


def main() -> None:
    out, *names = sys.argv[1:]
    configs = {name: configuration(Path(name), out=out) for name in names}
    say("ready")
    first = sys.stdin.readline().strip()
    for name in itertools.cycle([first, *(name for name in names if name != first)]):
        score_run(configs[name], AS_OF, executor=LocalExecutor(threads=1), progress=tell)


if __name__ == "__main__":
    main()
