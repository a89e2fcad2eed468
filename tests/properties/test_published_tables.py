from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from engine.execution.local import LocalExecutor
from engine.pipeline import fit_run, score_run
from engine.record import RunRecord
from tests.memory import memory_folder
from tests.samples import AS_OF, TOML, configuration, files, mail, rows_of, shop, write_files, write_sample

USERS = 40
LOCAL = LocalExecutor(threads=1)
TABLES = ("features", "scores", "segments", "memberships")
# Without contacts, and in two buckets: quick.
QUICK = TOML.replace(
    '[contacts]\npath = "contacts.parquet"\nuser_id = "customer"\nmodel_columns = ["region"]\n', ""
).replace("region = 'nord-été' AND ", "")
NO_DUPLICATES_KNOWN = QUICK.replace('event_id = "order"\n', "").replace('event_id = "message"\n', "")


def examples(few: int, many: int) -> settings:
    """`few` whole logs, as a run of one takes most of a second; `many` with HYPOTHESIS_PROFILE=thorough."""
    number = many if settings.get_current_profile_name() == "thorough" else few
    return settings(max_examples=number, suppress_health_check=[HealthCheck.function_scoped_fixture])


@dataclass(frozen=True)
class Baseline:
    """The log in one file per source, and what was published."""

    bundle: Path
    tables: dict[str, list[tuple[object, ...]]]


@pytest.fixture(scope="module")
def baseline() -> Iterator[Baseline]:
    with memory_folder() as where:
        config = configuration(write_sample(where, USERS, toml=QUICK))
        bundle = Path(str(fit_run(config, AS_OF, executor=LOCAL).bundle))
        score_run(config, AS_OF, executor=LOCAL)
        yield Baseline(bundle, {table: rows_of(Path(config.out), table) for table in TABLES})


@st.composite
def layouts(draw: st.DrawFn, frame: pl.DataFrame) -> list[pl.DataFrame]:
    """The rows of a source in any order and in any number of files, some of them empty."""
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=draw(st.integers(0, 2**31)))
    cuts = sorted(draw(st.lists(st.integers(0, frame.height), max_size=5)))
    return [shuffled[start:end] for start, end in zip([0, *cuts], [*cuts, frame.height], strict=True)]


@st.composite
def repeats(draw: st.DrawFn, frame: pl.DataFrame) -> pl.DataFrame:
    """Some rows of a source, to be delivered a second or third time."""
    return frame.sample(draw(st.integers(1, 40)), with_replacement=True, seed=draw(st.integers(0, 2**31)))


def write_log(where: Path, shops: list[pl.DataFrame], mails: list[pl.DataFrame], toml: str = QUICK) -> Path:
    write_files(where / "shop", shops)
    write_files(where / "mail", mails)
    (where / "tamis.toml").write_text(toml, encoding="utf-8")
    return where / "tamis.toml"


def published(file: Path, bundle: Path) -> tuple[RunRecord, dict[str, list[tuple[object, ...]]]]:
    config = configuration(file)
    record = score_run(config, AS_OF, executor=LOCAL, bundle=bundle)
    return record, {table: rows_of(Path(config.out), table) for table in TABLES}


@examples(2, 20)
@given(shops=layouts(shop(USERS)), mails=layouts(mail(USERS)))
def test_neither_order_nor_files_matter(
    baseline: Baseline, shops: list[pl.DataFrame], mails: list[pl.DataFrame]
) -> None:
    with memory_folder() as where:
        _, tables = published(write_log(where, shops, mails), baseline.bundle)
    assert tables == baseline.tables


@examples(1, 10)
@given(shops=layouts(shop(USERS)), mails=layouts(mail(USERS)))
def test_what_is_learnt_does_not_depend_on_them_either(
    baseline: Baseline, shops: list[pl.DataFrame], mails: list[pl.DataFrame]
) -> None:
    with memory_folder() as where:
        record = fit_run(configuration(write_log(where, shops, mails)), AS_OF, executor=LOCAL)
        assert files(Path(str(record.bundle))) == files(baseline.bundle)


@examples(1, 20)
@given(more_shop=repeats(shop(USERS)), more_mail=repeats(mail(USERS)))
def test_an_event_that_comes_again_changes_nothing(
    baseline: Baseline, more_shop: pl.DataFrame, more_mail: pl.DataFrame
) -> None:
    with memory_folder() as where:
        file = write_log(where, [shop(USERS), more_shop], [more_mail, mail(USERS)])
        record, tables = published(file, baseline.bundle)
    assert record.counts["rows"]["duplicate"] == more_shop.height + more_mail.height
    assert tables == baseline.tables


@examples(1, 10)
@given(more=repeats(shop(USERS)))
def test_without_an_id_it_is_an_event_of_its_own(more: pl.DataFrame) -> None:
    with memory_folder() as where:
        file = write_log(where, [shop(USERS), more], [mail(USERS)], NO_DUPLICATES_KNOWN)
        config = configuration(file, targets=[], clusters__enabled=False, segments=[])
        fit_run(config, AS_OF, executor=LOCAL)
        record = score_run(config, AS_OF, executor=LOCAL)
    assert record.counts["rows"]["duplicate"] == 0
    assert record.counts["events"]["purchase"]["kept"] == shop(USERS).height + more.height


moments = st.datetimes(datetime(2025, 12, 1), datetime(2026, 4, 1), timezones=st.just(UTC))
messy_rows = st.tuples(
    st.none() | st.integers(1, USERS + 5),
    st.none() | st.sampled_from(["o1-0", "new1", "new2", "new3"]),
    st.none() | moments,
    st.none() | st.sampled_from([float("nan"), float("inf"), -5.0, 0.0, 12.34]),
)


@examples(1, 20)
@given(rows=st.lists(messy_rows, max_size=30))
@example(rows=[(None, None, None, None)])
@example(rows=[(1, None, datetime(AS_OF.year, AS_OF.month, AS_OF.day, tzinfo=UTC) - timedelta(microseconds=1), 1.0)])
def test_rows_and_users_are_conserved(baseline: Baseline, rows: list[tuple[object, ...]]) -> None:
    more = pl.DataFrame(rows, shop().schema, orient="row")
    with memory_folder() as where:
        record, tables = published(write_log(where, [shop(USERS), more], [mail(USERS)]), baseline.bundle)
    counts = dict(record.counts["rows"])
    assert counts.pop("read") == shop(USERS).height + more.height + mail(USERS).height
    assert counts["rejected"] == sum(record.counts["rejected"].get("shop", {}).values())
    as_of = datetime(AS_OF.year, AS_OF.month, AS_OF.day, tzinfo=UTC)
    late = sum(row[2] is not None and row[2] >= as_of for row in rows)  # type: ignore[operator]
    assert counts["after_as_of"] <= late
    kept = counts.pop("kept")
    assert kept + sum(counts.values()) == record.counts["rows"]["read"]
    assert kept == sum(kinds["kept"] for kinds in record.counts["events"].values())
    for table in ("features", "scores", "segments"):
        # Columns are in the order of their names.
        users = [row[-1] for row in tables[table]]
        assert len(users) == len(set(users)) == record.counts["users"]
    sizes = Counter(row[-2] for row in tables["segments"])
    # A rule that takes nobody is counted, and has no file.
    assert sizes == {name: size["users"] for name, size in record.counts["segments"].items() if size["users"]}


@examples(1, 10)
@given(seed=st.integers(0, 2**31), late=st.integers(1, 30))
def test_a_run_with_late_events_is_a_run_from_nothing(baseline: Baseline, seed: int, late: int) -> None:
    """Late events may be of any day; the run before them leaves no trace."""
    rows = list(range(mail(USERS).height))
    random.Random(seed).shuffle(rows)
    with memory_folder() as where:
        config = configuration(write_log(where, [shop(USERS)], [mail(USERS)[rows[late:]]]))
        before = score_run(config, AS_OF, executor=LOCAL, bundle=baseline.bundle)
        mail(USERS)[rows[:late]].write_parquet(where / "mail" / "late.parquet")
        after = score_run(config, AS_OF, executor=LOCAL, bundle=baseline.bundle)
        assert after.run_id != before.run_id
        updated = files(Path(config.out))
        fresh = config.model_copy(update={"out": str(where / "fresh")})
        score_run(fresh, AS_OF, executor=LOCAL, bundle=baseline.bundle)
        assert files(Path(fresh.out)) == updated
        # And once more: the same names and bytes.
        assert score_run(config, AS_OF, executor=LOCAL, bundle=baseline.bundle).run_id == after.run_id
        assert files(Path(config.out)) == updated
        assert {table: rows_of(Path(config.out), table) for table in TABLES} == baseline.tables
