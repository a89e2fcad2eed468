from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from engine.quality.unit import UnitQuality, ValueBins, added

counts = st.integers(1, 9)
names = st.sampled_from("ab")
days = st.none() | st.integers(-2, 2)
bins = st.dictionaries(st.integers(0, 3), counts, min_size=1).map(lambda found: tuple(sorted(found.items())))
units = st.builds(
    UnitQuality,
    empty=st.dictionaries(names, st.integers(0, 9)).map(lambda found: tuple(found.items())),
    late=st.dictionaries(st.integers(0, 3), counts).map(lambda found: tuple(found.items())),
    broken=st.dictionaries(names, st.integers(0, 9)).map(lambda found: tuple(found.items())),
    lost=st.dictionaries(st.tuples(names, days), counts).map(
        lambda found: tuple((outcome, day, rows) for (outcome, day), rows in found.items())
    ),
    values=st.lists(st.builds(ValueBins, names, names, bins), max_size=2).map(tuple),
)


@given(st.lists(units, max_size=4), st.randoms(use_true_random=False))
def test_the_sum_does_not_depend_on_order_or_portions(given_units: list[UnitQuality], random: object) -> None:
    shuffled = list(given_units)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    middle = len(shuffled) // 2
    parts = [added(shuffled[:middle]), added(shuffled[middle:])]
    assert added(given_units) == added(shuffled) == added(parts)


@given(units)
def test_it_survives_json(unit: UnitQuality) -> None:
    adapter = TypeAdapter(UnitQuality)
    assert adapter.validate_json(adapter.dump_json(unit)) == unit
