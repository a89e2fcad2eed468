from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest

from engine.why.counted import Counted, counted_of, open_log
from engine.why.preview import checked_rule
from engine.why.published import open_published
from engine.why.scope import scope_of, spec_of
from engine.why.sentences import counted_line
from engine.why.words import ENGLISH, FRENCH
from tests.samples import AS_OF
from tests.why.published_sample import Sample


def counted(sample: Sample, rule: str, user: int) -> Counted:
    published = open_published(sample.out, AS_OF)
    spec = spec_of(published, sample.config)
    [clause] = checked_rule(rule, scope_of(published, spec)).clauses
    [found] = counted_of(clause, {}, open_log(sample.out, user, spec), AS_OF, spec)
    return found


def purchases(sample: Sample, user: int) -> list[date]:
    log = pl.read_parquet(sample.file.parent / "shop" / "000.parquet").with_columns(day=pl.col("at").dt.date())
    return log.filter(pl.col("customer") == user, pl.col("day") < AS_OF)["day"].sort().to_list()


@pytest.mark.parametrize("user", [1, 5, 8, 9, 22])
@pytest.mark.parametrize(("periods", "length"), [(4, 7), (3, 10), (6, 1)])
def test_regularly_tells_how_many_periods_have_events(sample: Sample, user: int, periods: int, length: int) -> None:
    found = counted(sample, f"regularly('purchase', 1, {periods}, {length})", user)
    ends = [AS_OF - timedelta(days=length * number) for number in range(periods)]
    days = purchases(sample, user)
    met = sum(any(end - timedelta(days=length) <= day < end for day in days) for end in ends)
    assert found.periods == (met, periods)
    number = f"in {met} of {periods} periods, "
    assert number in counted_line(found, ENGLISH)
    assert f"dans {met} des {periods} périodes" in counted_line(found, FRENCH)


@pytest.mark.parametrize("rule", ["stopped('purchase', 1, 2)", "restarted('purchase', 1, 2)"])
def test_pauses_show_the_last_events_however_long_ago(sample: Sample, rule: str) -> None:
    found = counted(sample, rule, 5)
    assert found.periods is None
    assert sorted({day for day, _ in found.days}) == sorted(set(purchases(sample, 5)))[-12:]
