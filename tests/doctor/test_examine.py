from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import pytest

from engine.doctor import examine as module
from engine.doctor.examine import examine
from engine.doctor.finding import failed, ok


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Without the processes that load libraries; what they would have said can be changed."""
    loads = [ok("loading", "all")]

    @contextmanager
    def loading(modules: Any) -> Any:
        yield {}

    monkeypatch.setattr(module, "loading", loading)
    monkeypatch.setattr(module, "check_loading", lambda children: iter(loads))
    return loads


def test_everything_is_looked_at(subject: Callable[..., Any], config: Callable[..., Any], quick: list[Any]) -> None:
    asked = subject(config())
    before = sorted(asked.out.parent.rglob("*"))
    found = [finding.check for finding in examine(asked)]
    assert (
        found
        == (
            "python libraries extras memory cpus open_files core_dumps output_folder output_space disk exchange lock "
            "clock temporary_folder temporary_space secret_files secrets_in_configuration encoding loading time_zones"
        ).split()
    )
    assert sorted(asked.out.parent.rglob("*")) == before


def test_a_check_that_cannot_be_made_does_not_end_the_others(
    subject: Callable[..., Any], quick: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def check_memory(subject: Any) -> Any:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/sys/x")
        yield

    monkeypatch.setattr(module, "_OF_THE_MACHINE", (check_memory, *module._OF_THE_MACHINE[1:]))
    found = {finding.check: finding for finding in examine(subject())}
    assert found["memory"].status == "failed"
    assert "/sys/x" in found["memory"].said
    assert found["encoding"].status != "failed"


def test_a_library_that_ends_its_process_is_not_loaded_into_this_one(
    subject: Callable[..., Any], quick: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    quick[:] = [failed("loading", "polars does not load", "reinstall it")]
    monkeypatch.setattr(module, "check_time_zones", None)
    assert [finding.status for finding in examine(subject()) if finding.check == "loading"] == ["failed"]


def test_the_store_is_written_to_only_when_asked(
    subject: Callable[..., Any], quick: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def check_remote(subject: Any) -> Any:
        yield ok("remote", "fine")

    monkeypatch.setattr(module, "check_remote", check_remote)
    assert [finding.check for finding in examine(subject())].count("remote") == 0
    assert [finding.check for finding in examine(subject(), probe_remote=True)].count("remote") == 1
