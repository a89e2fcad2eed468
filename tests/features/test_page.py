from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engine.features.catalogue import catalogue
from engine.features.page import SIGNALS, features_page, full_spec
from engine.features.registry import FAMILIES, NEEDS
from tests.features.specs import spec_of

ROOT = Path(__file__).parents[2]


def test_the_page_is_current() -> None:
    command = [sys.executable, "-m", "engine.features.page", "configs/demo.toml"]
    written = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    assert written.decode() == (ROOT / "docs" / "features.md").read_text(encoding="utf-8"), " ".join(command)


def test_every_column_stands_on_the_page_in_order() -> None:
    spec = full_spec()
    tables = features_page(spec).partition("## Activity")[2].partition("## Signals")[0]
    listed = [part for line in tables.splitlines() if line.startswith("| `") for part in line.split("`")[1::2]]
    of_other_types = {f"{kind.slug}_count_total" for kind in spec.types} - {
        "purchase_count_total",
        "product_page_count_total",
    }
    names = [feature.name for feature in catalogue(spec)]
    assert [name for name in names if name in set(listed)] == [name for name in listed if name in set(names)]
    left_out = set(names) - set(listed)
    assert of_other_types <= left_out
    others = tuple(kind.slug for kind in spec.types if kind.slug not in {"purchase", "product_page"})
    assert all(name.startswith((*others, *(f"days_since_{slug}" for slug in others))) for name in left_out)


def test_every_family_has_columns_and_says_what_it_needs() -> None:
    page = features_page(full_spec())
    for family in FAMILIES:
        assert family.features(full_spec()), family.name
        assert f'`families = ["{family.name}"]`; needs {NEEDS[family.name]}.' in page
    assert set(NEEDS) == {family.name for family in FAMILIES}


@pytest.mark.parametrize("signal", SIGNALS, ids=lambda signal: signal[0])
def test_every_signal_has_columns(signal: tuple[str, str, str]) -> None:
    names = {feature.name for feature in catalogue(full_spec())}
    _, _, columns = signal
    assert "`" in columns or set(columns.split()) <= names
    assert columns.split()


def test_no_signal_is_left_out() -> None:
    assert sorted({name for name, _, _ in SIGNALS}) == [f"SIG-{number:02d}" for number in range(1, 13)]


def test_a_family_without_columns_is_left_out_and_bars_are_escaped() -> None:
    page = features_page(spec_of(("a|b",)))
    assert "## Rates" not in page
    assert "## Recency" not in page
    assert "Events of type a\\|b." in page
