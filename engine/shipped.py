"""Where the configuration files are that come with the program."""

from __future__ import annotations

from pathlib import Path


def shipped_configs() -> Path:
    """The folder of configurations: beside `jobs` when installed, `configs/` of the checkout otherwise."""
    root = Path(__file__).resolve().parent.parent
    installed = root / "jobs" / "configs"
    return installed if installed.is_dir() else root / "configs"
