"""Runs a job and kills itself after some tasks: `restarter.py JOB CONFIG OUT LOG SIGNAL AFTER`; 0 kills never."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from engine.execution.local import LocalExecutor
from engine.pipeline import features_run, fit_run, run, score_run
from jobs.console import run_guarded
from tests.samples import AS_OF, configuration

JOBS: dict[str, Callable[..., Any]] = {"fit": fit_run, "score": score_run, "run": run}


class Watched(LocalExecutor):
    """Notes which tasks ended whose record can be used again; calls `at` once `after` of them have."""

    def __init__(self, log: Path, after: int = 0, at: Callable[[], None] = lambda: None) -> None:
        super().__init__(threads=1)
        object.__setattr__(self, "watch", SimpleNamespace(log=log, left=after, at=at))

    def map(self, function: Any, tasks: Any, *, on_done: Any = None, small: bool = False, sizes: Any = None) -> Any:
        def ended(result: Any) -> None:
            if on_done is not None:
                on_done(result)
            told = getattr(result, "told", None)
            if told is None:
                return
            watch: Any = self.watch  # type: ignore[attr-defined]
            with watch.log.open("a", encoding="utf-8") as file:
                file.write(f"{told}\n")
            watch.left -= 1
            if watch.left == 0:
                watch.at()

        return super().map(function, tasks, on_done=ended, small=small, sizes=sizes)


def job(name: str, config: Path, out: Path, executor: LocalExecutor) -> None:
    settings = configuration(config, out=str(out))
    if name == "features":
        features_run(settings, AS_OF, out.with_name("table"), executor=executor)
    else:
        JOBS[name](settings, AS_OF, executor=executor)


def main() -> None:
    name, config, out, log, number, after = sys.argv[1:]

    def kill() -> None:
        os.kill(os.getpid(), signal.Signals[number])
        time.sleep(30)

    executor = Watched(Path(log), int(after), kill)
    sys.exit(run_guarded(lambda: job(name, Path(config), Path(out), executor), as_json=False))


if __name__ == "__main__":
    main()
