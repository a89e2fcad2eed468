from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from typer.testing import CliRunner, Result

from engine.config import Config
from engine.execution.protocol import Executor
from engine.progress import Progress, ProgressEvent
from engine.record import RunRecord, TableSummary

CONFIG = """\
[[sources]]
name = "shop"
path = "events.parquet"
[sources.columns]
user_id = "customer"
event_type = { value = "purchase" }
event_time = "date"
"""

COUNTS = {
    "rows": {
        "read": 1_234_577,
        "left_out": 2,
        "rejected": 3,
        "duplicate": 4,
        "merged": 0,
        "after_as_of": 1,
        "kept": 1_234_567,
    },
    "rejected": {"shop": {"user_id_missing": 3}},
    "events": {"purchase": {"kept": 1_234_567, "zero_amount": 7}},
    "users": 8,
    "segments": {
        "champions": {"users": 6, "mean_spend": 1234.5},
        "at_risk": {"users": 2, "mean_spend": 0.0},
        "nobody": {"users": 0, "mean_spend": None},
    },
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tamis.toml").write_text(CONFIG, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tamis() -> Callable[..., Result]:
    from jobs.app import app

    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, list(arguments))


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A pipeline that notes how it was called, and returns a record or raises."""
    state = SimpleNamespace(calls=[], error=None, counts={})

    def stage(name: str) -> Callable[..., RunRecord]:
        def run(
            config: Config,
            as_of: date | None,
            *,
            executor: Executor,
            progress: Progress | None = None,
            **others: object,
        ) -> RunRecord:
            state.calls.append((name, config, as_of, executor, others))
            if progress is not None:
                progress(ProgressEvent(name, 0, 1))
            if state.error is not None:
                raise state.error
            return RunRecord(
                run_id="r1",
                as_of=as_of or date(2026, 1, 31),
                counts={**COUNTS, **state.counts},
                timings={"read": 0.25, "total": 1.5},
                tables={"segments": TableSummary(path="out/segments", rows=2469, files=3, bytes=12345)},
                bundle="out/bundles/b1",
            )

        return run

    fake = ModuleType("engine.pipeline")
    for name, function in (("fit_run", "fit"), ("score_run", "score"), ("run", "run"), ("check_run", "check")):
        setattr(fake, name, stage(function))
    monkeypatch.setitem(sys.modules, "engine.pipeline", fake)
    monkeypatch.setattr("engine.pipeline", fake, raising=False)
    return state
