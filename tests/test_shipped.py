from __future__ import annotations

from pathlib import Path

import pytest

from engine import shipped
from jobs.demo import demo_config


def test_the_folder_beside_an_installed_package_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "__file__", str(tmp_path / "engine" / "shipped.py"))
    assert shipped.shipped_configs() == tmp_path / "configs"
    (tmp_path / "jobs" / "configs").mkdir(parents=True)
    assert shipped.shipped_configs() == tmp_path / "jobs" / "configs"
    assert demo_config() == tmp_path / "jobs" / "configs" / "demo.toml"


def test_the_checkout_has_what_is_shipped() -> None:
    assert demo_config().is_file()
    assert sorted(file.name for file in (shipped.shipped_configs() / "sources").iterdir()) != []
