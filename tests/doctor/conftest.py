from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.config import Config, Execution
from engine.doctor.finding import Subject, Surroundings

Make = Callable[..., Subject]


@pytest.fixture
def subject(tmp_path: Path) -> Make:
    """Makes a subject whose machine is a folder: nothing of the real one is read unless a test says so."""
    for name in ("home", "tmp", "proc", "cgroup"):
        (tmp_path / name).mkdir()

    def make(config: Config | None = None, environment: dict[str, str] | None = None, **execution: Any) -> Subject:
        here = Surroundings(
            environment or {}, tmp_path / "home", tmp_path / "tmp", tmp_path / "proc", tmp_path / "cgroup"
        )
        settings = Execution(**execution) if config is None else config.execution
        return Subject(here, tmp_path / "out", settings, config)

    return make


@pytest.fixture
def config() -> Callable[..., Config]:
    def make(**sections: Any) -> Config:
        source = {
            "name": "shop",
            "path": "events.parquet",
            "columns": {"user_id": "customer", "event_type": {"value": "purchase"}, "event_time": "date"},
        }
        return Config.model_validate({"sources": [source], **sections})

    return make
