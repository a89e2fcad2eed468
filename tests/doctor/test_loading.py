from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.doctor import loading as module
from engine.doctor.finding import Finding
from engine.doctor.loading import check_loading, loading, modules_of


def outcome(*names: str) -> list[Finding]:
    with loading(names) as children:
        return list(check_loading(children))


def test_modules_that_load() -> None:
    [finding] = outcome("json", "polars")
    assert (finding.status, finding.said) == ("ok", "json, polars")


@pytest.mark.parametrize(
    ("source", "said", "fix"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "died of SIGILL", "polars[rtcompat]"),
        ("raise OSError('libgomp.so.1: cannot open shared object file')", "libgomp.so.1", "libgomp1"),
        ("import nosuchmodule", "No module named 'nosuchmodule'", "--force-reinstall polars"),
    ],
)
def test_a_module_that_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, said: str, fix: str
) -> None:
    (tmp_path / "polars.py").write_text(source, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    [finding] = outcome("polars", "json")
    assert finding.status == "failed"
    assert said in finding.said
    assert fix in finding.fix


def test_one_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hanging.py").write_text("import time\ntime.sleep(600)\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(module, "_SECONDS", 0.3)
    with loading(["hanging"]) as children:
        [finding] = check_loading(children)
    assert finding.status == "failed"
    assert children["hanging"].returncode is not None


def test_ray_is_loaded_where_it_is_used(subject: Callable[..., Any]) -> None:
    assert "ray" not in modules_of(subject())
    assert "ray" in modules_of(subject(executor="ray"))
