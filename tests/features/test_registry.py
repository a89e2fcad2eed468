from __future__ import annotations

import pytest

from engine.features.catalogue import catalogue
from engine.features.page import full_spec
from engine.features.registry import FAMILIES, NEEDS, enabled, family_columns, family_named
from tests.features.specs import spec_of


def test_no_column_of_the_full_catalogue_stands_twice() -> None:
    names = [feature.name for feature in catalogue(full_spec())]
    assert len(names) == len(set(names))
    assert all(name.isascii() and name.isidentifier() and name.islower() for name in names)


def test_names_are_different_and_have_needs() -> None:
    names = [family.name for family in FAMILIES]
    assert len(names) == len(set(names))
    assert set(NEEDS) == set(names)
    assert [family_named(name) for name in names] == list(FAMILIES)
    with pytest.raises(KeyError):
        family_named("cadences")


def test_a_column_leads_to_its_family_whether_enabled_or_not() -> None:
    spec = spec_of(("purchase",))
    columns = family_columns(spec)
    assert columns["purchase_gap_mean_days"] == "cadence"
    assert columns["first_seen"] == "lifecycle"
    assert not {"purchase_count_7d", "reachable"} & columns.keys()


def test_enabled_families_come_in_the_order_of_their_columns() -> None:
    spec = spec_of(("purchase",), families=("value", "cadence"))
    assert [family.name for family in enabled(spec)] == ["cadence", "value"]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_reads_types_that_there_are(family: object) -> None:
    from engine.features.feature import Family

    assert isinstance(family, Family)
    for spec in (full_spec(), spec_of(("purchase", "visit")), spec_of(("visit",))):
        reads = family.reads(spec)
        assert reads.types <= set(spec.type_names)
        for feature in family.features(spec):
            assert set(feature.types) <= set(spec.type_names), feature.name
