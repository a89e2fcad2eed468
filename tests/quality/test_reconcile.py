from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config import Exclude
from engine.errors import IntegrityError
from engine.features.windows import day_number
from engine.quality.reconcile import OUTCOMES, outcomes, source_rows
from engine.rollups.index import Code, Entry
from engine.rollups.totals import ingested
from engine.rollups.update import Wanted
from engine.stages.accounting import row_counts
from tests.rollups.stores import DAY_ZERO, at, bring, config_of, label, put, source_of

BUYS = Wanted((Code("buy"), Code("open")))
DAYS = 4
END = DAY_ZERO + DAYS


class Row(NamedTuple):
    user: str | None
    type: str | None
    day: int | None
    id: str | None = None
    amount: float | None = None
    category: str | None = None

    def written(self) -> tuple[object, ...]:
        return self.user, self.type, None if self.day is None else at(self.day, 5), self.id, self.amount, self.category


rows = st.builds(
    Row,
    st.sampled_from(["u", "v", "out", "", None]),
    st.sampled_from(["buy", "buy", "open", "rare", None]),
    st.none() | st.integers(-1, DAYS + 1),
    st.sampled_from([None, "1", "2"]),
    st.sampled_from([None, 1.0, 7.0]),
    st.sampled_from([None, "left", "bad"]),
)
files = st.dictionaries(
    st.sampled_from([f"{label(day)}/{name}" for day in range(DAYS) for name in "ab"]),
    st.lists(rows, max_size=6),
    min_size=1,
)


def oracle(given_files: dict[str, list[Row]]) -> dict[int | None, Counter[str]]:
    found: dict[int | None, Counter[str]] = {}
    seen: set[tuple[object, ...]] = set()
    by_label: dict[str, list[Row]] = {}
    for name in sorted(given_files):
        by_label.setdefault(name[:10], []).extend(given_files[name])
    for name in sorted(by_label):
        mine: dict[tuple[object, ...], int] = {}
        for row in sorted(by_label[name], key=lambda row: (row.day is None, row.day or 0)):
            key = (row.type, row.user, row.id)
            day = None if row.day is None else DAY_ZERO + row.day
            if row.category == "left":
                what = "left_out"
            elif row.user == "out":
                what = "excluded"
            elif not row.user or not row.type or row.day is None or row.category == "bad":
                what = "rejected"
            elif row.type == "rare":
                what = "left_out" if row.day < DAYS else "after_as_of"
            else:
                again = row.id is not None and (key in seen or key in mine)
                if row.id is not None:
                    mine[key] = 1
                what = "after_as_of" if row.day >= DAYS else "duplicate" if again else "kept"
            found.setdefault(day, Counter())[what] += 1
        seen |= mine.keys()
    return found


def brought(tmp_path: Path, given_files: dict[str, list[Row]], **fields: Any) -> tuple[Entry, ...]:
    log = tmp_path / "log"
    for name, listed in given_files.items():
        put(log, name, *(row.written() for row in listed))
    rules = [{"name": "not_bad", "holds": "category <> 'bad'", "action": "quarantine"}]
    source = source_of(log, where="category IS NULL OR category <> 'left'", rules=rules, dedup_days=400, **fields)
    config = config_of(source, exclude=Exclude(user_ids=("out",)))
    return bring(config, tmp_path / "store", BUYS).index.entries


@settings(max_examples=40)
@given(files)
def test_dq08_rows_add_up_per_source_and_day(
    tmp_path_factory: pytest.TempPathFactory, given_files: dict[str, list[Row]]
) -> None:
    entries = brought(tmp_path_factory.mktemp("log"), given_files)
    found = outcomes(entries, END, ("buy", "open"))
    expected = oracle(given_files)
    assert {day: +counted for day, counted in found.items()} == {day: +counted for day, counted in expected.items()}
    assert sum(counted.total() for counted in found.values()) == sum(map(len, given_files.values()))


@settings(max_examples=15)
@given(files, st.sampled_from(["duplicate", "lines"]), st.sampled_from([1, DAYS, 400]))
def test_the_sums_are_the_counts_of_the_manifest(
    tmp_path_factory: pytest.TempPathFactory, given_files: dict[str, list[Row]], same_id: str, days: int
) -> None:
    entries = brought(tmp_path_factory.mktemp("log"), given_files, same_id=same_id)
    measured = list(source_rows("log", entries, day_number(at(days).date()), ("buy", "open")))
    whole = {one.metric.removeprefix("rows_"): one.numerator for one in measured if one.day is None}
    counts = row_counts(ingested(entries, day_number(at(days).date()), {"buy", "open"}))
    assert {name: whole[name] for name in ("read", *OUTCOMES)} == {**dict.fromkeys(OUTCOMES, 0), **counts}
    by_day: Counter[str] = Counter()
    for one in measured:
        if one.day is not None:
            by_day[one.metric.removeprefix("rows_")] += one.numerator
    assert by_day["read"] == whole["read"] - whole["without_day"] == sum(by_day[name] for name in OUTCOMES)


def test_rows_that_are_lost_stop_the_run(tmp_path: Path) -> None:
    [entry] = brought(tmp_path, {label(0): [Row("u", "buy", 0)]})
    with pytest.raises(IntegrityError, match="of source 'log' 2 were read, 1 are accounted for") as caught:
        list(source_rows("log", [replace(entry, read=2)], END, ("buy",)))
    assert caught.value.code == "rows-lost"


def test_incremental_tells_the_same_as_full(tmp_path: Path) -> None:
    log = {
        f"{label(day)}/a": [Row("u", "buy", day, "1", 5.0), Row("", "buy", day), Row("v", "open", None)]
        for day in (0, 1)
    }
    source = source_of(tmp_path / "log", dedup_days=400)
    steps = []
    for name, listed in log.items():
        put(tmp_path / "log", name, *(row.written() for row in listed))
        steps.append(bring(config_of(source), tmp_path / "store", BUYS))
    full = bring(config_of(source), tmp_path / "fresh", BUYS)
    assert steps[-1].rolled == 1
    assert [entry.quality for entry in steps[-1].index.entries] == [entry.quality for entry in full.index.entries]
    assert full.index.entries[0].quality.values
