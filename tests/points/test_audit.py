from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.config import Config, Target
from engine.config_consent import Consent
from engine.config_privacy import Privacy
from engine.errors import ConfigError, DataError
from engine.execution.local import LocalExecutor
from engine.points.audit import PointsAudit, audit_points
from engine.points.cards import apply_cards, compile_cards, resolved_cards
from engine.points.tables import audit_table, class_table
from engine.rules.scope import Scope
from engine.tables.durable import durable_parquet
from engine.tables.layout import table_folder
from engine.tables.manifest import Manifest, dtypes_of, table_record
from engine.tables.publish import publish
from engine.tables.workspace import workspace
from tests.consent.logs import frame, saved

LOCAL = LocalExecutor(threads=1)
DAY = date(2026, 2, 1)
USERS = 400
RULES = [
    {"name": "tells", "value": "taste", "points": 10},
    {"name": "coin", "value": "coin", "points": 5},
    {"name": "backwards", "value": "taste", "form": "steps", "steps": [(0, 7), (1, 0)]},
    {"name": "gone", "value": "nothing", "points": 1},
]
CARD = {"name": "card", "rules": RULES, "classes": {"high": 9, "middle": 6}, "cap": 30}
OTHER = {"name": "other", "rules": [{"name": "spam", "value": "coin", "points": -3}], "floor": -3}


def users() -> pl.DataFrame:
    draw = random.Random(11)
    rows = [(f"u{number:03d}", number % 4 // 3, draw.randrange(2), 0) for number in range(USERS)]
    return pl.DataFrame(rows, ["user_id", "taste", "coin", "nothing"], orient="row")


def buyers() -> set[str]:
    draw = random.Random(12)
    return {user for user, taste, _, _ in users().iter_rows() if draw.random() < (0.6 if taste else 0.2)}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("points")
    before, after = datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 2, 10, tzinfo=UTC)
    rows = [(user, "visit", before + timedelta(hours=n), 1.0) for n, user in enumerate(users()["user_id"])]
    rows += [(user, "purchase", after, 30.0) for user in sorted(buyers())]
    rows += [
        ("u001", "purchase", before, 30.0),
        ("u000", "purchase", datetime(2026, 2, 16, tzinfo=UTC), 99.0),
        ("new", "purchase", after, 30.0),
    ]
    pl.DataFrame(rows, ["user", "kind", "at", "total"], orient="row").write_parquet(folder / "log.parquet")
    columns = {"user_id": "user", "event_type": "kind", "event_time": "at", "amount": "total"}
    config = Config.model_validate(
        {
            "out": str(folder / "out"),
            "segment_fallback": "rest",
            "events": {"purchase": "purchase"},
            "sources": [{"name": "log", "path": str(folder / "log.parquet"), "columns": columns}],
            "points": [CARD, OTHER],
            "execution": {"rows_per_task": 200},
        }
    )
    publish_points(config, DAY)
    return config


def publish_points(config: Config, as_of: date) -> None:
    frame = users()
    scope = Scope({name: pl.Int64() for name in ("taste", "coin", "nothing")})
    columns, ledger = apply_cards(compile_cards(resolved_cards(config), scope), frame)
    tables = {"scores": frame.select("user_id").with_columns(columns), "points": ledger}
    out = Path(config.out)
    with workspace(out, "by-hand") as work:
        records = []
        for name, table in tables.items():
            folder = table_folder(work, name, as_of)
            files = [
                durable_parquet(table.gather_every(3, start), folder, f"part-{start}", root=work) for start in range(3)
            ]
            records.append(table_record(name, as_of, dtypes_of(table.schema), files))
        publish(work, out, Manifest("by-hand", as_of, None, {"input": "0"}, {}, tuple(records)))


def audited(config: Config, as_of: date = date(2026, 2, 16), **keys: Any) -> PointsAudit:
    outcome = {"name": "outcome", "event": "purchase", "horizon_days": 14}
    outcome |= {name: keys.pop(name) for name in ("event", "where", "horizon_days") if name in keys}
    return audit_points(config, as_of, Target(**outcome), executor=LOCAL, **keys)


def test_one_rule_predicts_one_predicts_nothing_and_one_points_the_wrong_way(config: Config) -> None:
    found = audited(config)
    assert (found.published, found.warnings) == (DAY, ())
    [card, other] = found.cards
    assert [(rule.rule, rule.verdict) for rule in card.rules] == [
        ("tells", "predicts"),
        ("coin", "nothing"),
        ("backwards", "wrong way"),
        ("gone", "unknown"),
    ]
    assert [(rule.rule, rule.verdict, rule.takes) for rule in other.rules] == [("spam", "nothing", True)]


def test_the_figures_are_those_of_a_plain_loop(config: Config) -> None:
    came = buyers()
    found = audited(config, card="card")
    table, classes = audit_table(found), class_table(found)
    frame = users()
    for rule, given in (
        ("tells", frame.filter(taste=1)),
        ("coin", frame.filter(coin=1)),
        ("backwards", frame.filter(taste=0)),
    ):
        [row] = table.filter(rule=rule).to_dicts()
        ids = set(given["user_id"])
        others = set(frame["user_id"]) - ids
        assert (row["users"], row["positives"]) == (len(ids), len(ids & came))
        assert (row["other_users"], row["other_positives"]) == (len(others), len(others & came))
        rate, other_rate = len(ids & came) / len(ids), len(others & came) / len(others)
        assert row["lift"] == pytest.approx(rate / other_rate)
        assert row["difference"] == pytest.approx(rate - other_rate)
    points = {user: 10 * taste + 5 * coin + 7 * (taste == 0) for user, taste, coin, _ in frame.iter_rows()}
    for name, low, high in (("high", 9, 99), ("middle", 6, 9), ("low", -1, 6)):
        [row] = classes.filter(pl.col("class") == name).to_dicts()
        ids = {user for user, given in points.items() if low < given <= high}
        assert (row["users"], row["positives"], row["share"]) == (len(ids), len(ids & came), len(ids) / USERS)
    assert classes["class"].to_list() == ["high", "middle", "low"]


def test_an_area_of_two_groups_follows_from_their_rates(config: Config) -> None:
    [row] = audit_table(audited(config, card="card")).filter(rule="tells").to_dicts()
    came, missed = row["positives"], row["users"] - row["positives"]
    other_came, other_missed = row["other_positives"], row["other_users"] - row["other_positives"]
    ordered = came * other_missed + 0.5 * (came * missed + other_came * other_missed)
    assert row["auc"] == pytest.approx(ordered / ((came + other_came) * (missed + other_missed)))


def test_the_outcome_can_have_a_condition(config: Config) -> None:
    found = audited(config, card="card", where="amount >= 50", as_of=date(2026, 3, 1), horizon_days=16)
    assert found.cards[0].users.positives == 1


def test_the_latest_points_that_are_old_enough_count(config: Config, tmp_path: Path) -> None:
    config = config.model_copy(update={"out": str(tmp_path / "out")})
    for day in (date(2026, 1, 20), DAY, date(2026, 2, 3)):
        publish_points(config, day)
    assert audited(config).published == date(2026, 2, 2) - timedelta(days=1)
    assert audited(config, as_of=date(2026, 2, 14)).published == date(2026, 1, 20)


def test_a_rule_that_is_no_longer_configured_is_told_by_the_ledger(config: Config) -> None:
    fewer = config.model_copy(update={"points": resolved_points({**CARD, "rules": [RULES[1]]})})
    [card, _] = audited(fewer).cards
    assert [rule.rule for rule in card.rules] == ["coin", "backwards", "tells"]


def resolved_points(*cards: dict[str, Any]) -> Any:
    source = [{"name": "s", "path": "p", "columns": {"user_id": "u", "event_type": "t", "event_time": "e"}}]
    return Config.model_validate({"sources": source, "points": cards}).points


def test_gd01_users_who_are_withheld_since_are_told_and_not_counted(config: Config, tmp_path: Path) -> None:
    long_ago, during, after = (datetime(*day, tzinfo=UTC) for day in ((2025, 1, 1), (2026, 2, 14), (2026, 2, 15)))
    rows = [(user, "profiling", "granted", long_ago) for user in users()["user_id"]]
    rows += [("u003", "profiling", "withdrawn", during), ("u004", "profiling", "withdrawn", after)]
    saved(frame(rows), tmp_path / "consents.parquet")
    (tmp_path / "no.txt").write_text("u007", encoding="utf-8")
    asked = {
        "consent": Consent(path=str(tmp_path / "consents.parquet"), user_id="user_id"),
        "privacy": Privacy(opposed=(str(tmp_path / "no.txt"),)),
    }
    found = audited(config.model_copy(update=asked), as_of=date(2026, 2, 15), card="card")
    # Who withdraws at the end of the horizon had agreed all through it.
    [told] = found.warnings
    assert told.startswith("2 of 400 published users are withheld since: they withdrew their consent or object")
    assert found.cards[0].users.users == USERS - 2
    assert found.cards[0].users.positives == len(buyers() - {"u003", "u007"})


@pytest.mark.parametrize(
    ("keys", "kind", "code"),
    [
        ({"as_of": date(2026, 2, 14)}, ConfigError, "points-not-published"),
        ({"card": "crad"}, ConfigError, "points-card-unknown"),
        ({"event": "purchse"}, ConfigError, "event-type-unknown"),
        ({"where": "amont > 3"}, ConfigError, "target-where"),
        ({"as_of": date(2026, 4, 1), "horizon_days": 40}, DataError, "not-matured"),
    ],
)
def test_what_cannot_be_audited_is_refused(
    config: Config, keys: dict[str, Any], kind: type[Exception], code: str
) -> None:
    with pytest.raises(kind) as caught:
        audited(config, **keys)
    assert caught.value.code == code  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"event": "purchas"}, "--outcome: no row has the event type 'purchas' (did you mean 'purchase'?)"),
        ({"where": "amont > 3"}, "--where: no column 'amont'"),
        ({"as_of": date(2026, 3, 9), "horizon_days": 36}, "--outcome: the horizon of 36 days"),
    ],
)
def test_problems_name_the_options_of_the_command(config: Config, keys: dict[str, Any], told: str) -> None:
    with pytest.raises((ConfigError, DataError)) as caught:
        audited(config, **keys)
    assert told in caught.value.message
    assert "target" not in caught.value.message
