from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from engine.config_file import load_config
from engine.features.catalogue import catalogue
from engine.features.page import demo_spec, features_page
from tests.features.logs import spec_of

ROOT = Path(__file__).parents[2]


def test_the_page_of_the_demo_is_current() -> None:
    command = [sys.executable, "-m", "engine.features.page", "configs/demo.toml"]
    written = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    assert written.decode() == (ROOT / "docs" / "features.md").read_text(encoding="utf-8"), " ".join(command)


def test_every_column_stands_on_the_page_once_and_in_order() -> None:
    spec = demo_spec(load_config(ROOT / "configs" / "demo.toml").config)
    page = features_page(spec)
    places = [page.index(f"`{feature.name}`") for feature in catalogue(spec)]
    assert places == sorted(places)
    assert [page.count(f"`{feature.name}`") for feature in catalogue(spec)] == [1] * len(places)


def test_a_family_without_columns_is_left_out_and_bars_are_escaped() -> None:
    page = features_page(spec_of(("a|b",)))
    assert "## Rates" not in page
    assert "## Recency" not in page
    assert "Events of type a\\|b." in page
