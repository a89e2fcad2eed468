from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from engine.errors import ConfigError
from engine.why.intervals import intervals
from engine.why.listing import LIST_SCHEMA, segment_list, segment_shown
from tests.samples import AS_OF
from tests.why.published_sample import EARLIER, Sample

ORDER = ["buyers", "Été", "openers", "others", "asleep", "asleep_buyers", "panel", "offer_control", "offer_shown"]


def test_sizes_and_changes_are_those_of_the_tables(sample: Sample) -> None:
    found = segment_list(sample.config, AS_OF)
    assert (found.as_of, found.since, found.users) == (AS_OF, EARLIER, 80)
    assert found.table.schema == pl.Schema(LIST_SCHEMA)
    assert found.table["segment"].to_list() == ORDER
    now, before = (sample.table("memberships", day)["segment"].to_list() for day in (AS_OF, EARLIER))
    for row in found.table.iter_rows(named=True):
        users = now.count(row["segment"])
        assert (row["users"], row["share"], row["change"]) == (
            users,
            users / 80,
            users - before.count(row["segment"]),
        )
    first = segment_list(sample.config, EARLIER, "fr")
    assert first.since is None
    assert first.table["change"].null_count() == first.table.height
    assert first.table["label"][1] == "Gros acheteurs du nord"
    assert segment_list(sample.config, None).as_of == AS_OF


def test_a_configuration_alone_has_a_list_too(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> None:
    config = sample.config.model_copy(update={"out": str(tmp_path_factory.mktemp("nothing") / "out")})
    found = segment_list(config, None)
    assert (found.as_of, found.users) == (None, None)
    assert found.table["segment"].to_list() == ORDER
    assert found.table["users"].null_count() == len(ORDER)
    shown = segment_shown(config, "asleep_buyers", None)
    assert shown.depends_on == ("asleep", "buyers")
    assert (shown.entries, shown.composition, shown.kpis) == (None, (), {})
    with pytest.raises(ConfigError, match="nothing is published"):
        segment_list(config, AS_OF)


def test_everything_of_one_segment(sample: Sample) -> None:
    shown = segment_shown(sample.config, "buyers", AS_OF)
    assert shown.used_by == ("asleep_buyers",)
    changes = sample.table("membership_changes").filter(pl.col("segment") == "buyers")["change"].to_list()
    assert (shown.entries, shown.exits) == (changes.count("enter"), changes.count("exit"))
    assert shown.line["change"] == changes.count("enter") - changes.count("exit")
    assert segment_shown(sample.config, "Été", AS_OF).about["campaigns"] == ["spring"]
    assert segment_shown(sample.config, "panel", AS_OF).about["frozen_on"] == date(2026, 2, 20)
    with pytest.raises(ConfigError, match="did you mean 'buyers'"):
        segment_shown(sample.config, "buyer", AS_OF)


def test_intervals_of_a_segment_and_of_a_user(sample: Sample) -> None:
    until, table = intervals(sample.config, None, "buyers", None)
    assert until == AS_OF
    now, before = (
        set(sample.table("memberships", day).filter(pl.col("segment") == "buyers")["user_id"])
        for day in (AS_OF, EARLIER)
    )
    expected: set[tuple[int, date, date | None]] = {(user, EARLIER if user in before else AS_OF, None) for user in now}
    expected |= {(user, EARLIER, AS_OF) for user in before - now}
    assert set(table.select("user_id", "valid_from", "valid_to").iter_rows()) == expected
    _, own = intervals(sample.config, AS_OF, None, "5")
    assert own["user_id"].unique().to_list() == [5]
    assert intervals(sample.config, EARLIER, "panel", None)[1].is_empty()


@pytest.mark.parametrize(
    ("segment", "user", "code"), [("bayers", None, "segment-unknown"), (None, "999", "user-unknown")]
)
def test_a_history_of_nothing(sample: Sample, segment: str | None, user: str | None, code: str) -> None:
    with pytest.raises(ConfigError) as caught:
        intervals(sample.config, None, segment, user)
    assert caught.value.code == code
