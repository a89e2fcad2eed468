from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.config import Config
from engine.errors import ConfigError, DataError
from engine.execution.local import LocalExecutor
from engine.pipeline import features_run, fit_run, score_run
from tests.consent.logs import Row, frame, saved
from tests.consent.sample import (
    LONG_AGO,
    MAILS,
    NO,
    OPENS,
    PROFILING,
    USERS,
    YES,
    YESTERDAY,
    consents,
    scored,
    variant,
    write,
)
from tests.published import ordered
from tests.samples import AS_OF, configuration, files

LOCAL = LocalExecutor(threads=1)
BY_USER = ("features", "scores", "segments", "memberships", "membership_changes", "points")


class World:
    """A bundle, and what it publishes where everybody agreed; no dataclass, whose values Hypothesis would print."""

    def __init__(self, config: Config, tables: dict[str, pl.DataFrame], counts: dict[str, Any]) -> None:
        self.config, self.tables, self.counts = config, tables, counts


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    config = configuration(write(tmp_path_factory.mktemp("consented")))
    fit_run(config, AS_OF, executor=LOCAL)
    bare = variant(config, tmp_path_factory.mktemp("scored") / "all", consents())
    record, tables = scored(bare, LOCAL)
    return World(config, tables, record.counts)


def users_of(tables: dict[str, pl.DataFrame]) -> list[int]:
    return tables["features"]["user_id"].sort().to_list()


def same(one: pl.DataFrame, other: pl.DataFrame) -> bool:
    return ordered(one).equals(ordered(other))


def test_gd01_without_a_row_nothing_is_computed_of_a_user(world: World, tmp_path: Path) -> None:
    silent = {3, 4, 50}
    log = consents(users=[user for user in range(1, USERS + 1) if user not in silent])
    record, tables = scored(variant(world.config, tmp_path / "v", log), LOCAL)
    assert users_of(tables) == [user for user in users_of(world.tables) if user not in silent]
    assert record.counts["withheld"] == {PROFILING: 3, "opposed": 0}
    assert record.counts["users"] + 3 == world.counts["users"]
    assert record.counts["consent"][PROFILING] == {"granted": 77, "withdrawn": 0, "never": 3}
    assert record.counts["events"] == world.counts["events"]
    for name in BY_USER:
        if name in tables:
            assert silent.isdisjoint(tables[name]["user_id"].to_list()), name


def test_gd02_purposes_stand_in_the_manifest(world: World) -> None:
    assert world.counts["purposes"] == {
        "process": [PROFILING],
        "segments": {"by mail": [MAILS], "mailable": [MAILS]},
        "exports": [MAILS],
    }
    assert world.counts["withheld"] == {PROFILING: 0, "opposed": 0}
    assert world.counts["consent_log"] == {"read": 240, "used": 240, "users": 80}


def test_gd02_a_segment_is_only_for_users_who_agreed_to_its_purposes(world: World, tmp_path: Path) -> None:
    before = world.tables["memberships"]
    mailed = before.filter(pl.col("segment") == "by mail")["user_id"].to_list()
    gone = mailed[0]
    record, tables = scored(variant(world.config, tmp_path / "v", consents([(gone, MAILS, NO, YESTERDAY)])), LOCAL)
    after = tables["memberships"]
    assert set(after.filter(pl.col("user_id") == gone)["segment"]).isdisjoint({"by mail", "mailable"})
    # Still in exactly one segment of the primary group: the next one that takes the user.
    assert tables["segments"].filter(pl.col("user_id") == gone).height == 1
    for name in ("features", "scores"):
        assert same(tables[name], world.tables[name])
    for name in ("segments", "memberships"):
        others = pl.col("user_id") != gone
        assert same(tables[name].filter(others), world.tables[name].filter(others))
    assert record.counts["consent"][MAILS] == {"granted": 79, "withdrawn": 1, "never": 0}
    assert record.counts["withheld"] == {PROFILING: 0, "opposed": 0}


@pytest.mark.slow
@pytest.mark.parametrize("where", ["local", pytest.param("ray", marks=[pytest.mark.ray, pytest.mark.slow])])
def test_the_same_bytes_with_consents_wherever_it_runs(
    request: pytest.FixtureRequest, world: World, tmp_path: Path, where: str
) -> None:
    log = consents([(user, PROFILING, NO, YESTERDAY) for user in range(5, 40, 4)])
    first = variant(world.config, tmp_path / "first", log)
    score_run(first, AS_OF, executor=LOCAL)
    second = variant(world.config, tmp_path / "second", log)
    second = second.model_copy(update={"consent": first.consent})
    if where == "local":
        score_run(second, AS_OF, executor=LocalExecutor(threads=2))
    else:
        from engine.config import Execution
        from engine.execution.on_ray import ray_executor

        request.getfixturevalue("ray_session")
        with ray_executor(Execution(executor="ray", cpus_per_task=1)) as executor:
            score_run(second, AS_OF, executor=executor)
    assert files(Path(first.out)) == files(Path(second.out))


@pytest.mark.slow
def test_the_part_of_who_agreed_does_not_stay(world: World, tmp_path: Path) -> None:
    config = variant(world.config, tmp_path / "v", consents([(7, PROFILING, NO, YESTERDAY)]))
    score_run(config, AS_OF, executor=LOCAL)
    assert not list(Path(config.out).rglob("*permits*"))
    assert not list(Path(config.out).rglob("_withheld"))


def test_users_who_are_withheld_are_in_no_table_of_features(world: World, tmp_path: Path) -> None:
    config = variant(world.config, tmp_path / "v", consents([(7, PROFILING, NO, YESTERDAY)]))
    record = features_run(config, AS_OF, tmp_path / "features", executor=LOCAL)
    found = pl.read_parquet(tmp_path / "features" / "*.parquet")["user_id"].to_list()
    assert 7 not in found
    assert record.counts["users"] == len(found) == world.counts["users"] - 1
    assert record.counts["withheld"] == {PROFILING: 1, "opposed": 0}


def test_nobody_left_stops_the_run_with_the_reasons(world: World, tmp_path: Path) -> None:
    log = frame([(1000, PROFILING, YES, LONG_AGO), (7, PROFILING, YES, None)], pl.Int64())
    with pytest.raises(DataError) as caught:
        score_run(variant(world.config, tmp_path / "v", log), AS_OF, executor=LOCAL)
    assert caught.value.code == "consent-nobody"
    assert f"any of the {world.counts['users']} users: {world.counts['users']} did not agree to profiling" in str(
        caught.value
    )
    assert "1 rows without user, purpose or time are not used" in caught.value.message
    assert not list((tmp_path / "v" / "out").glob("features"))


@pytest.mark.slow
def test_a_changed_log_is_another_run_and_no_other_bundle(world: World, tmp_path: Path) -> None:
    one = scored(variant(world.config, tmp_path / "one", consents()), LOCAL)[0]
    two = scored(variant(world.config, tmp_path / "two", consents([(9, MAILS, NO, YESTERDAY)])), LOCAL)[0]
    assert one.run_id != two.run_id
    assert one.bundle is not None
    assert two.bundle is not None
    assert Path(one.bundle).name == Path(two.bundle).name


def test_purposes_without_a_log_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path)
    file.write_text(file.read_text().replace('[consent]\npath = "consents.parquet"\n', ""))
    with pytest.raises(ConfigError) as caught:
        fit_run(configuration(file), AS_OF, executor=LOCAL)
    assert caught.value.code == "purpose-unknown"
    assert "segments.mailable.purposes: 'email_marketing', but there is no [consent]" in str(caught.value)


@pytest.mark.slow
def test_the_ledger_says_why_a_user_is_gone(world: World, tmp_path: Path) -> None:
    from datetime import timedelta

    config = variant(world.config, tmp_path / "v", consents([(7, PROFILING, NO, YESTERDAY)]))
    earlier = AS_OF - timedelta(days=2)
    fit_run(config, earlier, executor=LOCAL)
    score_run(config, earlier, executor=LOCAL)
    _, tables = scored(config, LOCAL)
    exits = tables["membership_changes"].filter(pl.col("user_id") == 7)
    assert exits.height
    assert set(exits["change"]) == {"exit"}
    assert set(exits["reason"]) == {"consent withdrawn"}
    assert "consent_withdrawn" in set(
        tables["segment_flows"]["cause_kind" if "cause_kind" in tables["segment_flows"].columns else "kind"]
    )
    # A date that is published in between is what the reason is told against; it stays what it was.
    score_run(config, AS_OF - timedelta(days=1), executor=LOCAL)
    from tests.published import published_tables

    again = published_tables(Path(config.out), AS_OF)["membership_changes"].filter(pl.col("user_id") == 7)
    assert set(again["reason"]) == {"consent withdrawn"}


# --- what a withdrawal changes


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Row], int, str]:
    """Rows after everybody agreed; and a user and a purpose to be withdrawn at last."""
    users = st.integers(1, USERS)
    purposes = st.sampled_from([PROFILING, MAILS, OPENS])
    rows = draw(
        st.lists(
            st.tuples(users, purposes, st.sampled_from([YES, NO]), st.just(LONG_AGO).map(lambda at: at)), max_size=20
        )
    )
    from datetime import timedelta

    spread: list[Row] = [
        (user, purpose, status, at + timedelta(hours=draw(st.integers(1, 2000)))) for user, purpose, status, at in rows
    ]
    return spread, draw(users), draw(purposes)


_CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@given(histories())
@settings(max_examples=2, deadline=None, suppress_health_check=_CHECKS)
def test_gd05_a_withdrawn_consent_changes_exactly_the_outputs_of_its_purposes(
    world: World, history: tuple[list[Row], int, str]
) -> None:
    with TemporaryDirectory() as folder:
        _check_withdrawal(world, Path(folder), *history)


@pytest.mark.slow
@given(histories())
@settings(max_examples=25, deadline=None, suppress_health_check=_CHECKS)
def test_gd05_so_does_any_withdrawal_in_many_logs(world: World, history: tuple[list[Row], int, str]) -> None:
    with TemporaryDirectory() as folder:
        _check_withdrawal(world, Path(folder), *history)


def _check_withdrawal(world: World, folder: Path, rows: list[Row], user: int, purpose: str) -> None:
    _, before = scored(
        variant(
            world.config,
            folder / "before",
            consents([*rows, (user, PROFILING, YES, YESTERDAY), (user, purpose, YES, YESTERDAY)]),
        ),
        LOCAL,
    )
    _, after = scored(
        variant(
            world.config,
            folder / "after",
            consents([*rows, (user, PROFILING, YES, YESTERDAY), (user, purpose, NO, YESTERDAY)]),
        ),
        LOCAL,
    )
    assert user in users_of(before)
    others = pl.col("user_id") != user
    if purpose == OPENS:
        # Nothing asks for it.
        assert all(same(before[name], after[name]) for name in before)
        assert before.keys() == after.keys()
        return
    for name in BY_USER:
        if name in before:
            assert same(before[name].filter(others), after[name].filter(others)), name
    if purpose == MAILS:
        assert same(before["features"], after["features"])
        assert same(before["scores"], after["scores"])
        assert same(before["rfm_grid"], after["rfm_grid"])
        assert same(before["score_distribution"], after["score_distribution"])
        asked = {"by mail", "mailable"}
        assert asked.isdisjoint(after["memberships"].filter(~others)["segment"].to_list())
        return
    for name in BY_USER:
        if name in after:
            assert after[name].filter(~others).is_empty(), name
    # Aggregates too are those of a log that never had the user.
    without = world.config.model_copy(
        update={
            "sources": tuple(
                source.model_copy(update={"path": _without(Path(str(source.path)), folder / source.name, user)})
                for source in world.config.sources
            )
        }
    )
    log = consents([*rows, (user, PROFILING, NO, YESTERDAY)])
    _, never = scored(variant(without, folder / "never", log), LOCAL)
    assert never.keys() == after.keys()
    for name in after.keys() - {"quality"}:
        # What is measured of files is not about users.
        assert same(never[name], after[name]), name


def _without(source: Path, folder: Path, user: int) -> str:
    folder.mkdir(parents=True)
    for number, file in enumerate(sorted(source.glob("*.parquet"))):
        saved(pl.read_parquet(file).filter(pl.col("customer") != user), folder / f"{number}.parquet")
    return str(folder)
