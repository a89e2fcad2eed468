from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.config import Config
from engine.errors import ConfigError, IntegrityError
from engine.rollups.update import STORE_NAME
from engine.tables.layout import table_folder
from engine.why.sentences import segment_lines
from engine.why.why import Answer, why
from tests.samples import AS_OF
from tests.why.published_sample import EARLIER, Sample

Row = dict[str, Any]


def over(value: Any, limit: float) -> bool:
    return value is not None and value > limit


RULES: dict[str, Callable[[Row], bool]] = {
    "buyers": lambda row: over(row["purchase_count_30d"], 0) and row["region"] != "sud",
    "Été": lambda row: row["region"] == "nord-été" and over(row["purchase_amount_30d"], 60),
    "openers": lambda row: over(row["open_rate_30d"], 0.4999) or over(row["engagement_score"], 40),
    "others": lambda _: True,
}
TRIED = ["buyers", "Été", "openers", "others"]


def copied(sample: Sample, folder: Path) -> Config:
    shutil.copytree(sample.out, folder / "copy")
    return sample.config.model_copy(update={"out": str(folder / "copy")})


def change(config: Config, table: str, expression: pl.Expr, as_of: date = AS_OF) -> None:
    for path in sorted(table_folder(Path(config.out), table, as_of).glob("*.parquet")):
        pl.read_parquet(path).with_columns(expression).write_parquet(path)


def rows(sample: Sample, as_of: date) -> dict[int, Row]:
    joined = sample.table("features", as_of).join(sample.table("scores", as_of), on="user_id")
    return {row["user_id"]: row for row in joined.iter_rows(named=True)}


@pytest.mark.parametrize("as_of", [pytest.param(EARLIER, marks=pytest.mark.slow), AS_OF])
def test_verdicts_are_those_of_plain_python(sample: Sample, as_of: date) -> None:
    purchases = pl.read_parquet(sample.file.parent / "shop" / "000.parquet")
    recent = purchases.filter((pl.col("at").dt.date() >= as_of - timedelta(days=17)) & (pl.col("at").dt.date() < as_of))
    awake = set(recent["customer"])
    for user, row in list(rows(sample, as_of).items())[::4]:
        answer = why(sample.config, as_of, str(user), every=True)
        found = {seen.segment.name: seen for seen in answer.segments}
        alone = {name: rule(row) for name, rule in RULES.items()}
        first = next(name for name in TRIED if alone[name])
        for place, name in enumerate(TRIED):
            assert (found[name].membership is not None) == (name == first)
            held = found[name].rule
            assert held is None or held.holds == alone[name]
            expected = "in" if name == first else "earlier" if alone[name] and place > TRIED.index(first) else "fails"
            assert found[name].decision == expected
        assert (found["asleep"].decision == "in") == (user not in awake)
        both = user not in awake and first == "buyers"
        assert (found["asleep_buyers"].decision == "in") == both
        assert (found["panel"].decision == "in") == (user in {3, 7, 11} and as_of == AS_OF)
        assert {found[f"offer_{arm}"].decision for arm in ("control", "shown")} == {"in", "fails"}


def test_clauses_have_values_and_the_events_behind_them(sample: Sample) -> None:
    log = pl.read_parquet(sample.file.parent / "shop" / "000.parquet").with_columns(day=pl.col("at").dt.date())
    for user in (1, 5, 8, 9, 22):
        answer = why(sample.config, AS_OF, str(user), "buyers")
        [seen] = answer.segments
        assert seen.rule is not None
        clause = seen.rule.clauses[0]
        own = log.filter((pl.col("customer") == user) & (pl.col("day") < AS_OF) & (pl.col("day") >= date(2026, 1, 30)))
        expected = own.group_by("day").len().sort("day").rows()
        assert [(day, events) for day, events in clause.counted[0].days] == expected
        assert clause.values == (("purchase_count_30d", own.height),)
        assert clause.counted[0].problem == ""
        assert [clause.negated for clause in seen.rule.clauses] == [False, True]


def test_measures_show_the_events_of_their_window(sample: Sample) -> None:
    log = pl.read_parquet(sample.file.parent / "shop" / "000.parquet").with_columns(day=pl.col("at").dt.date())
    recent = log.filter((pl.col("day") < AS_OF) & (pl.col("day") >= AS_OF - timedelta(days=17)))
    user, events = recent.group_by("customer").len().sort("len", "customer", descending=True).row(0)
    [seen] = why(sample.config, AS_OF, str(user), "asleep").segments
    assert seen.rule is not None
    [clause] = seen.rule.clauses
    assert (clause.holds, clause.counted[0].events, clause.counted[0].start) == (False, events, date(2026, 2, 12))


def test_points_add_up_and_changes_come_latest_first(sample: Sample) -> None:
    answer = why(sample.config, AS_OF, "5")
    [card] = answer.points
    assert card.points == sum(points for _, _, points in card.rows) == rows(sample, AS_OF)[5]["points_activity"]
    days = [change.as_of for change in answer.changes]
    assert days == sorted(days, reverse=True)
    assert set(days) <= {EARLIER, AS_OF}
    assert why(sample.config, EARLIER, "5").changes[0].as_of == EARLIER
    assert why(sample.config, AS_OF, "5", "buyers").points == ()


def test_the_tables_must_agree_with_the_rules(sample: Sample, tmp_path: Path) -> None:
    members = sample.table("memberships")
    user = members.filter(pl.col("segment") == "buyers")["user_id"][0]
    config = copied(sample, tmp_path)
    moved = pl.when(pl.col("segment") == "buyers").then(pl.lit("openers")).otherwise("segment").alias("segment")
    change(config, "memberships", moved)
    with pytest.raises(IntegrityError, match="'buyers' holds, and the tables have the user in 'openers'") as caught:
        why(config, AS_OF, str(user), "buyers")
    assert caught.value.code == "why-disagrees"
    assert why(config, AS_OF, str(user), "asleep").segments


@pytest.mark.parametrize(
    ("of", "table", "expression", "message"),
    [
        ("asleep", "memberships", pl.col("segment").replace("asleep", "x"), "the tables do not have the user in it"),
        ("others", "memberships", pl.col("segment").replace("others", "Été"), "and its rule does not hold"),
        ("buyers", "points", pl.col("points") + 1, "add up to"),
    ],
)
def test_each_contradiction_is_told(
    sample: Sample, tmp_path: Path, of: str, table: str, expression: pl.Expr, message: str
) -> None:
    user = sample.table("memberships").filter(pl.col("segment") == of)["user_id"].min()
    assert why(sample.config, AS_OF, str(user), every=True).segments
    config = copied(sample, tmp_path)
    change(config, table, expression)
    with pytest.raises(IntegrityError, match=message):
        why(config, AS_OF, str(user), every=True)


def test_without_a_store_the_rest_is_told(sample: Sample, tmp_path: Path) -> None:
    config = copied(sample, tmp_path)
    shutil.rmtree(Path(config.out) / STORE_NAME)
    [seen] = why(config, AS_OF, "5", "buyers").segments
    assert seen.decision == "in"
    assert seen.rule is not None
    assert "there is no rollup store" in seen.rule.clauses[0].counted[0].problem


def test_a_log_that_changed_since_is_told(sample: Sample, tmp_path: Path) -> None:
    config = copied(sample, tmp_path)
    change(config, "features", pl.col("purchase_count_30d") + pl.col("purchase_count_30d").sign())
    [seen] = why(config, AS_OF, "5", "buyers").segments
    assert seen.rule is not None
    assert seen.rule.clauses[0].counted[0].problem == "the table has 3: the log has changed since"


def test_a_list_that_changed_since_is_no_contradiction(sample: Sample) -> None:
    config = sample.config.model_copy(
        update={"segments": tuple(one for one in sample.config.segments if one.name != "panel")}
    )
    [seen] = why(config, AS_OF, "3", "panel").segments
    assert (seen.decision, seen.membership is not None) == ("other", True)
    assert seen.facts is not None
    assert "differently now" in seen.facts.problem


@pytest.mark.parametrize(
    ("user", "segment", "as_of", "code", "hint"),
    [
        ("999", None, AS_OF, "user-unknown", "from the day after its first event"),
        ("abc", None, AS_OF, "user-unknown", "whole numbers"),
        ("3", "Ete", AS_OF, "segment-unknown", "Segments: Été"),
        ("3", None, date(2026, 2, 16), "not-published", "2026-02-15, 2026-03-01"),
    ],
)
def test_what_is_not_there(sample: Sample, user: str, segment: str | None, as_of: date, code: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        why(sample.config, as_of, user, segment)
    assert caught.value.code == code
    assert hint in caught.value.hint


def test_a_user_of_another_date_is_found_there(sample: Sample, tmp_path: Path) -> None:
    config = copied(sample, tmp_path)
    for table in ("features", "scores"):
        for path in sorted(table_folder(Path(config.out), table, AS_OF).glob("*.parquet")):
            pl.read_parquet(path).filter(pl.col("user_id") != 3).write_parquet(path)
    with pytest.raises(ConfigError) as caught:
        why(config, AS_OF, "3")
    assert caught.value.hint == "The user is in what is published for 2026-02-15."


def test_a_name_in_decomposed_letters_is_the_same_name(sample: Sample) -> None:
    assert why(sample.config, AS_OF, "3", "E\u0301te\u0301").segments[0].segment.name == "Été"


def told(answer: Answer, language: Any) -> str:
    return "\n".join(line for seen in answer.segments for line in segment_lines(seen, language))


def test_it_is_told_in_both_languages(sample: Sample) -> None:
    earlier = next(
        answer
        for user in range(1, 81)
        if (answer := why(sample.config, AS_OF, str(user), "openers")).segments[0].decision == "earlier"
    )
    assert "the rule holds, but the user is in 'buyers', which is tried before" in told(earlier, "en")
    assert "la règle est vérifiée, mais il est dans 'buyers', essayé avant" in told(earlier, "fr")
    listed = why(sample.config, AS_OF, "4", "panel")
    assert "✗ il n'en fait pas partie : il n'est pas sur la liste" in told(listed, "fr")
    assert "sur la liste faux" in told(listed, "fr")
    assert "✗ NOT (region = 'sud')" in told(why(sample.config, AS_OF, "4", "buyers"), "en")
