"""The search for settings before the training: rounds of trials of all targets, side by side on the executor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from engine.execution.protocol import Executor
from engine.progress import Progress, track
from engine.propensity.spec import Trial, best_trial
from engine.propensity.tune import ROUND, propose
from engine.stages.target_learning import TargetTask, TrialTask, try_settings


def tuned_tasks(
    tasks: Sequence[TargetTask], trials: int, *, executor: Executor, progress: Progress | None = None
) -> list[TargetTask]:
    """The tasks with the settings that had the least loss on the validation rows, and the trials they won.

    A reduced model has the settings that the full one of its target won: it may have too few rows to try any.

    A round tries a few settings of every target at once; what is proposed depends on the trials before it and not on
    the number of workers, so any executor finds the same settings.

    Args:
        tasks: The targets to train.
        trials: Settings to try per target, those of the configuration first; none when 0.
        executor: Where the trials run.
        progress: Told of each finished trial.

    Raises:
        ConfigError: Optuna is not installed.
    """
    if not trials or not tasks:
        return list(tasks)
    every, tasks = tasks, [task for task in tasks if task.without is None]
    histories: list[list[Trial]] = [[] for _ in tasks]
    done = track(progress, "tune", trials * len(tasks))
    for start in range(0, trials, ROUND):
        count = min(ROUND, trials - start)
        proposed = [
            TrialTask(task, settings)
            for task, history in zip(tasks, histories, strict=True)
            for settings in propose(task.model, history, count, task.seed)
        ]
        losses = executor.map(try_settings, proposed, on_done=done)
        for number, (trial, loss) in enumerate(zip(proposed, losses, strict=True)):
            histories[number // count].append(Trial(trial.settings, loss))
    best = [_best(task, tuple(history)) for task, history in zip(tasks, histories, strict=True)]
    won = {task.target.name: task for task in best}
    return [
        won[task.target.name] if task.without is None else replace(task, model=won[task.target.name].model)
        for task in every
    ]


def _best(task: TargetTask, history: tuple[Trial, ...]) -> TargetTask:
    return replace(task, model=best_trial(history).settings, tuned=history)
