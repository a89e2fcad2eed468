from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from engine.bundle import load_bundle
from engine.config import Config
from engine.errors import ConfigError, DataError
from engine.execution.local import LocalExecutor
from engine.execution.protocol import Executor
from engine.features.accounts import account_features
from engine.features.catalogue import catalogue
from engine.features.choice import feature_spec
from engine.features.windows import EPOCH, day_number
from engine.pipeline import features_run, fit_run, score_run
from engine.progress import ProgressEvent
from engine.record import RunRecord
from engine.stages.accounts import account_files
from engine.stages.learning import build_matrices
from engine.stages.learning_plan import anchor_days, matrix_tasks
from engine.stages.opening import check_names, open_run
from engine.stages.preparation import prepare, types_in_use
from tests.golden.runs import published
from tests.memory import memory_folder
from tests.samples import AS_OF, TOML, configuration, files, rows_of, write_sample

LOCAL = LocalExecutor(threads=1)
USERS = 80
RULES = """
[accounts]
column = "company"

[[segments]]
name = "lively accounts"
tag = true
where = "account_active_users_30d >= 8"

[execution]
"""
ONE_BUCKET = {"execution__rows_per_task": 100_000}
FOUR_BUCKETS = {"execution__rows_per_task": 450}
KEYS: dict[str, int | str | None] = {"": None, "ACME": 7, "Été": 8, "solo": 9}


def company(user: int) -> str | None:
    """Nine users without a contact, others without a company, an account of one user, and two large ones."""
    if user == 1:
        return "solo"
    return (None, "", "ACME", "Été")[user % 4]


def write_accounts(folder: Path, *, whole_numbers: bool = False) -> Path:
    folder.mkdir()
    toml = TOML.replace("\n[execution]\n", RULES).replace("[clusters]", "[clusters]\nenabled = false")
    file = write_sample(folder, toml=toml)
    known = [user for user in range(1, USERS + 5) if user % 9]
    names = [company(user) for user in known]
    values = [KEYS[name or ""] for name in names] if whole_numbers else names
    pl.DataFrame({"customer": known, "region": "sud", "company": values}).write_parquet(folder / "contacts.parquet")
    return file


def both(config: Config, executor: Executor = LOCAL) -> tuple[RunRecord, pl.DataFrame]:
    record = fit_run(config, AS_OF, executor=executor)
    score_run(config, AS_OF, executor=executor)
    return record, published(Path(config.out), "features").drop("as_of")


@pytest.fixture(scope="module")
def file() -> Iterator[Path]:
    with memory_folder() as folder:
        yield write_accounts(folder / "log")


@pytest.fixture(scope="module")
def whole(file: Path) -> tuple[Config, RunRecord, pl.DataFrame]:
    """A fit and a score with all users in one bucket."""
    config = configuration(file, out=str(file.parent.parent / "whole"), **ONE_BUCKET)
    return config, *both(config)


@pytest.mark.parametrize(
    "executor", ["local", pytest.param("ray", marks=[pytest.mark.ray, pytest.mark.slow])], indirect=True
)
def test_buckets_and_executors_do_not_show(
    file: Path, whole: tuple[Config, RunRecord, pl.DataFrame], executor: Executor, tmp_path: Path
) -> None:
    config, fitted, _ = whole
    cut = configuration(file, out=str(tmp_path / "out"), **FOUR_BUCKETS)
    record, _ = both(cut, executor)
    assert len(list((tmp_path / "out" / "features").rglob("*.parquet"))) == 4
    assert Path(str(record.bundle)).name == Path(str(fitted.bundle)).name
    for table in ("features", "scores", "segments", "memberships"):
        assert rows_of(tmp_path / "out", table) == rows_of(Path(config.out), table), table


def test_published_accounts_are_the_sums_of_their_users(whole: tuple[Config, RunRecord, pl.DataFrame]) -> None:
    _, fitted, table = whole
    spec = load_bundle(Path(str(fitted.bundle))).spec
    assert spec.account == "company"
    assert table.columns == ["user_id", *(feature.name for feature in catalogue(spec)), "region", "company"]
    accounts = {user: company(user) or None for user in range(1, USERS + 1) if user % 9}
    for row in table.iter_rows(named=True):
        account = accounts.get(row["user_id"])
        users = table.filter(pl.col("user_id").is_in([user for user, name in accounts.items() if name == account]))
        if account is None:
            assert {row[feature.name] for feature in account_features(spec)} == {None}
            continue
        spent = round(users["purchase_amount_30d"].sum(), 2)
        assert row["account_users"] == users.height
        assert row["account_active_users_7d"] == (users["active_days_7d"] > 0).sum()
        assert row["account_email_open_count_30d"] == users["email_open_count_30d"].sum()
        assert row["account_purchase_count_7d"] == users["purchase_count_7d"].sum()
        assert row["account_purchase_amount_30d"] == spent
        assert row["account_days_since_purchase"] == users["days_since_purchase"].min()
        share = round(row["purchase_amount_30d"] * 100) / round(spent * 100) if spent else None
        assert row["account_user_share_of_amount"] == share
    assert table.filter(pl.col("company") == "solo")["account_users"].to_list() == [1]
    assert table["account_users"].max() == 18


def test_rules_and_models_use_them(whole: tuple[Config, RunRecord, pl.DataFrame]) -> None:
    config, fitted, table = whole
    members = published(Path(config.out), "memberships").filter(pl.col("segment") == "lively accounts")
    lively = table.filter(pl.col("account_active_users_30d") >= 8)["user_id"].to_list()
    assert members["user_id"].to_list() == lively
    assert 0 < len(lively) < USERS
    [model] = load_bundle(Path(str(fitted.bundle))).models
    assert {"account_users", "account_user_share_of_amount"} <= set(model.spec.features)


def test_models_learn_from_accounts_as_they_were(file: Path, tmp_path: Path) -> None:
    config = configuration(file, out=str(tmp_path / "out"), **FOUR_BUCKETS)
    opened = open_run(config)
    types = types_in_use(config, opened.given, AS_OF, LOCAL, None)
    work = tmp_path / "work"
    work.mkdir()
    prepared = prepare(config, opened.given, AS_OF, work=work, executor=LOCAL, progress=None, types=types)
    spec = feature_spec(config, types, frozenset({"purchase"}), opened.contacts)
    days = (day_number(AS_OF), *anchor_days(config, prepared, AS_OF))
    sums = account_files(prepared, prepared.shelf, spec, days, work=work, executor=LOCAL, progress=None)
    assert [day for day, _ in sums] == list(days)
    tasks = matrix_tasks(config, spec, prepared, AS_OF, opened.contacts, work, sums)
    matrices = [build_matrices(task) for task in tasks]
    assert len(matrices) == 4
    for day in days[-2:]:
        found = pl.concat([pl.read_parquet(f) for matrix in matrices for anchor, f, _ in matrix.rows if anchor == day])
        features_run(config, EPOCH + timedelta(days=day), tmp_path / f"to {day}", executor=LOCAL)
        expected = pl.read_parquet(f"{tmp_path}/to {day}/*.parquet").sort("user_id")
        assert found.sort("user_id").select(expected.columns).equals(expected)


@pytest.fixture(scope="module")
def alone(file: Path) -> tuple[RunRecord, Path]:
    """The feature table alone, from nothing, in four buckets."""
    config = configuration(file, out=str(file.parent.parent / "alone"), **FOUR_BUCKETS)
    to = file.parent.parent / "features alone"
    return features_run(config, AS_OF, to, executor=LOCAL), to


def test_the_feature_table_alone_has_them_and_finds_contacts(
    file: Path, whole: tuple[Config, RunRecord, pl.DataFrame], alone: tuple[RunRecord, Path], tmp_path: Path
) -> None:
    _, _, table = whole
    record, to = alone
    found = pl.read_parquet(f"{to}/*.parquet").sort("user_id")
    assert found.equals(table.drop("region", "company"))
    assert record.counts["contacts"] == {"read": 75, "left_out": 0, "matched": 72}
    strangers = pl.DataFrame({"customer": [10_000], "region": ["sud"], "company": ["ACME"]})
    strangers.write_parquet(tmp_path / "contacts.parquet")
    with pytest.raises(DataError, match="none of the 1 contacts"):
        features_run(
            configuration(
                file, out=str(file.parent.parent / "alone"), contacts__path=str(tmp_path / "contacts.parquet")
            ),
            AS_OF,
            tmp_path / "other",
            executor=LOCAL,
        )


def test_an_attribute_may_have_the_name_of_a_feature_where_it_is_not_published(
    file: Path, alone: tuple[RunRecord, Path], tmp_path: Path
) -> None:
    pl.read_parquet(file.parent / "contacts.parquet").rename({"company": "active_days_7d"}).write_parquet(
        tmp_path / "contacts.parquet"
    )
    other = configuration(
        file,
        out=str(tmp_path / "other"),
        contacts__path=str(tmp_path / "contacts.parquet"),
        accounts__column="active_days_7d",
    )
    features_run(other, AS_OF, tmp_path / "again", executor=LOCAL)
    found, again = (pl.read_parquet(f"{folder}/*.parquet").sort("user_id") for folder in (alone[1], tmp_path / "again"))
    assert found.equals(again)


def test_whole_numbers_are_accounts_too(whole: tuple[Config, RunRecord, pl.DataFrame], tmp_path: Path) -> None:
    _, _, table = whole
    config = configuration(write_accounts(tmp_path / "log", whole_numbers=True), out=str(tmp_path / "out"))
    features_run(config, AS_OF, tmp_path / "to", executor=LOCAL)
    assert pl.read_parquet(f"{tmp_path}/to/*.parquet").sort("user_id").equals(table.drop("region", "company"))


def test_one_day_more_gives_what_a_run_from_nothing_gives(
    file: Path, alone: tuple[RunRecord, Path], tmp_path: Path
) -> None:
    """Totals that were kept are brought forward for the sums of accounts, too."""
    config = configuration(file, out=str(tmp_path / "out"), **FOUR_BUCKETS)
    for day in (AS_OF.replace(month=2, day=27), AS_OF):
        features_run(config, day, tmp_path / f"to {day}", executor=LOCAL)
    contents = [list(files(folder).values()) for folder in (tmp_path / f"to {AS_OF}", alone[1])]
    assert contents[0] == contents[1]
    assert len(contents[0]) == 4


@pytest.mark.parametrize("asked", [False, True])
def test_nothing_is_summed_up_without_accounts(asked: bool, file: Path, tmp_path: Path) -> None:
    seen: list[ProgressEvent] = []
    config = configuration(file, out=str(tmp_path / "out"), segments=[])
    if not asked:
        config = config.model_copy(update={"accounts": None})
    features_run(config, AS_OF, tmp_path / "to", executor=LOCAL, progress=seen.append)
    assert ("accounts" in {event.stage for event in seen}) is asked
    [columns] = {tuple(pl.read_parquet_schema(part)) for part in (tmp_path / "to").glob("*.parquet")}
    assert any(name.startswith("account_") for name in columns) is asked


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"accounts__column": "compagny"}, ["no attribute 'compagny'", "did you mean 'company'", "region, company"]),
        ({"accounts__column": "weight"}, ["expected text or whole numbers in 'weight', got Float64"]),
        ({"contacts__columns": ["region"]}, ["no attribute 'company'", "Attributes: region."]),
    ],
)
def test_what_is_no_account_is_refused(
    changes: dict[str, object], words: list[str], file: Path, tmp_path: Path
) -> None:
    contacts = pl.read_parquet(file.parent / "contacts.parquet").with_columns(weight=0.5)
    contacts.write_parquet(tmp_path / "contacts.parquet")
    with pytest.raises(ConfigError) as caught:
        check_names(configuration(file, contacts__path=str(tmp_path / "contacts.parquet"), **changes))
    assert caught.value.code == "accounts-column"
    told = caught.value.message + caught.value.hint
    assert [word for word in words if word not in told] == []


def test_accounts_need_contacts(file: Path) -> None:
    config = configuration(file).model_copy(update={"contacts": None})
    with pytest.raises(ConfigError, match=r"there are no \[contacts\]"):
        check_names(config)
