from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from engine.bundle import Bundle, bundle_files, load_bundle
from engine.config import Config
from engine.errors import DataError, IntegrityError
from engine.execution.local import LocalExecutor
from engine.features.catalogue import catalogue
from engine.features.windows import day_number
from engine.pipeline import fit_run, score_run
from engine.propensity.drift import add, fit_reference
from engine.record import RunRecord
from engine.rollups.bucket import Shelf
from engine.rollups.ranges import KEYS, KeyRange
from engine.stages.schemas import bundle_schema, segment_columns
from engine.stages.scoring import (
    ScoreTask,
    add_scores,
    check_attributes,
    check_user_ids,
    infinite_attributes,
    score_bucket,
)
from engine.stages.segmenting import applied_of
from engine.tables.published_types import as_published, published_schema
from tests.golden.runs import published
from tests.samples import AS_OF, TOML, configuration, contacts, files, mail, shop, write_sample

USERS = 60
EXECUTOR = LocalExecutor(threads=1)
RULES = {
    "Île-de-France / é%": "region = 'nord-été' AND purchase_amount_30d > 20",
    "ça va": "engagement_score > 60 AND cluster = 0",
    "dormeurs, etc.": "days_since_last_event > 30",
}
# Of a group of its own, and outside all groups: in both a user of any segment above may be, too.
MOODS = {"keen": "engagement_score > 70", "present": "days_since_last_event <= 30"}
TAGS = {"of the south": "region = 'sud'", "seen": "days_since_last_event >= 0"}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rules = "".join(
        f'\n[[segments]]\nname = "{name}"\nwhere = "{where}"\n{more}\n'
        for entries, more in ((RULES, ""), (MOODS, 'group = "mood"'), (TAGS, "tag = true"))
        for name, where in entries.items()
    )
    before, _, after = TOML.partition("[[segments]]")
    toml = before + rules + "\n[execution]" + after.partition("[execution]")[2]
    # So few validation rows calibrate every score to the base rate.
    toml = toml.replace("[model]\n", '[model]\nearly_stopping_rounds = 0\ncalibration = "none"\n')
    return write_sample(tmp_path_factory.mktemp("sample"), users=USERS, toml=toml)


@pytest.fixture(scope="module")
def run(sample: Path) -> RunRecord:
    config = configuration(sample)
    fit_run(config, AS_OF, executor=EXECUTOR)
    return score_run(config, AS_OF, executor=EXECUTOR)


@pytest.fixture(scope="module")
def bundle(run: RunRecord) -> Bundle:
    return load_bundle(Path(str(run.bundle)))


@pytest.fixture(scope="module")
def out(sample: Path, run: RunRecord) -> Path:
    return sample.parent / "out"


@pytest.fixture(scope="module")
def users() -> list[int]:
    return sorted(pl.concat([frame.select("customer") for frame in (shop(USERS), mail(USERS))])["customer"].unique())


@pytest.mark.parametrize("table", ["features", "scores", "segments"])
def test_every_user_has_one_row_in_each_table(table: str, out: Path, users: list[int], run: RunRecord) -> None:
    assert published(out, table)["user_id"].to_list() == users
    assert run.counts["users"] == run.tables[table].rows == len(users)


def test_the_columns_of_the_tables(out: Path, bundle: Bundle) -> None:
    features = {feature.name: feature.dtype for feature in catalogue(bundle.spec)}
    scores = bundle_schema(bundle)
    user, key = {"user_id": pl.Int64()}, {"as_of": pl.Date()}
    rfm = {name: features[name] for name in ("rfm_recency_days", "rfm_frequency", "rfm_monetary")}
    left_out = {"cluster_distance", "cluster_margin", "propensity_buys_percentile"}
    in_segments = {name: dtype for name, dtype in scores.items() if name not in left_out}
    expected = {
        "features": {**user, **features, "region": pl.String(), **key},
        "scores": {**user, **scores, "mood": pl.String(), **key},
        "memberships": {
            **user,
            "segment": pl.String(),
            "group": pl.String(),
            "entered_on": pl.Date(),
            "days_in": pl.Int32(),
            "previous_segment": pl.String(),
            "rule_version": pl.String(),
            "run_id": pl.String(),
            **key,
        },
        "segments": {**user, **rfm, **in_segments, **key, "segment": pl.String()},
    }
    for table, schema in expected.items():
        assert list(published(out, table).schema.items()) == list(published_schema(schema).items()), table
    assert list(scores.items()) == [
        ("engagement_score", pl.Float64()),
        ("r_score", pl.Int8()),
        ("f_score", pl.Int8()),
        ("m_score", pl.Int8()),
        ("rfm_segment", pl.String()),
        ("cluster", pl.Int32()),
        ("cluster_distance", pl.Float64()),
        ("cluster_margin", pl.Float64()),
        ("cluster_name", pl.String()),
        ("propensity_buys", pl.Float64()),
        ("propensity_buys_percentile", pl.Int8()),
        ("propensity_buys_decile", pl.Int8()),
        ("propensity_buys_class", pl.String()),
    ]


NAMING_SEGMENTS = {"memberships", "membership_changes", "segment_definitions", "segment_kpis", "segment_composition"}


def test_partition_keys_stand_in_the_path_alone(out: Path) -> None:
    found = sorted(out.glob("*/as_of=*/**/*.parquet"))
    assert found
    for file in found:
        names = pq.read_schema(file).names
        assert "as_of" not in names
        assert ("segment" in names) == (file.relative_to(out).parts[0] in NAMING_SEGMENTS)


def test_segment_names_of_any_letters_are_one_folder_each(out: Path, run: RunRecord) -> None:
    folders = [path.name for path in (out / "segments" / f"as_of={AS_OF}").iterdir() if path.name != "_SUCCESS"]
    assert all(name.isascii() for name in folders)
    assert "segment=%C3%8Ele-de-France%20%2F%20%C3%A9%25" in folders
    assert {unquote(name.partition("=")[2]) for name in folders} == set(run.counts["segments"])
    assert set(RULES) <= set(published(out, "segments")["segment"])


def held_by(row: dict[str, Any], names: dict[str, str]) -> list[str]:
    holds = {
        "Île-de-France / é%": row["region"] == "nord-été" and row["purchase_amount_30d"] > 20,
        "ça va": row["engagement_score"] > 60 and row["cluster"] == 0,
        "dormeurs, etc.": row["days_since_last_event"] > 30,
        "keen": row["engagement_score"] > 70,
        "present": row["days_since_last_event"] <= 30,
        "of the south": row["region"] == "sud",
        "seen": row["days_since_last_event"] >= 0,
    }
    return [name for name in names if holds[name]]


def test_segments_and_memberships_equal_the_rules_tried_one_by_one(out: Path, run: RunRecord) -> None:
    everything = published(out, "features").join(published(out, "scores"), on="user_id")
    segments: dict[int, str] = {}
    moods: dict[int, str | None] = {}
    memberships: set[tuple[int, str, str | None]] = set()
    several = 0
    for row in everything.iter_rows(named=True):
        user, held, mood = row["user_id"], held_by(row, RULES), held_by(row, MOODS)
        several += len(held) > 1
        segments[user] = [*held, row["rfm_segment"]][0]
        moods[user] = [*mood, None][0]
        memberships |= {(user, segments[user], "primary"), *((user, name, None) for name in held_by(row, TAGS))}
        memberships |= {(user, name, "mood") for name in mood[:1]}
    assert several
    table = published(out, "segments")
    assert dict(table.select("user_id", "segment").rows()) == segments
    assert dict(everything.select("user_id", "mood").rows()) == moods
    members = published(out, "memberships").select("user_id", "segment", "group").rows()
    assert len(members) == len(memberships)
    assert set(members) == memberships
    assert {name for _, name, _ in members} > {*RULES, *MOODS, *TAGS}
    counted = {name: size["users"] for name, size in run.counts["segments"].items()}
    assert counted == {name: list(segments.values()).count(name) for name in set(segments.values())}


def test_the_segments_table_repeats_features_and_scores(out: Path, bundle: Bundle) -> None:
    columns = ["user_id", *segment_columns(bundle)]
    expected = published(out, "features").join(published(out, "scores"), on="user_id").sort("user_id")
    assert_frame_equal(published(out, "segments").select(columns), expected.select(columns), check_exact=True)


def test_users_who_never_bought_have_no_scores_and_are_no_purchase(out: Path) -> None:
    table = published(out, "scores").join(published(out, "features").select("user_id", "rfm_frequency"), on="user_id")
    without = table.filter(pl.col("rfm_frequency").is_null())
    assert 0 < without.height < table.height
    assert set(without.select("r_score", "f_score", "m_score", "rfm_segment").rows()) == {
        (None, None, None, "no_purchase")
    }
    bought = table.filter(pl.col("rfm_frequency").is_not_null())
    assert bought.select(pl.col("r_score", "f_score", "m_score").is_between(1, 5).all()).row(0) == (True, True, True)
    assert "no_purchase" not in set(bought["rfm_segment"])


def test_engagement_is_a_logarithmic_share_of_the_scale(out: Path, bundle: Bundle) -> None:
    points = published(out, "features")["engagement_points"].to_list()
    found = published(out, "scores")["engagement_score"].to_list()
    full = math.log1p(bundle.engagement_full_at)
    assert found == [round(min(100.0, 100 * math.log1p(value) / full), 2) for value in points]
    assert max(found) == 100.0
    assert 0.0 <= min(found) < 100.0


def test_propensities_are_probabilities_with_their_rank_and_class(out: Path, bundle: Bundle) -> None:
    table = published(out, "scores")
    found = table["propensity_buys"]
    assert found.is_between(0, 1).all()
    assert found.n_unique() > 2
    spec = bundle.models[0].spec
    assert table["propensity_buys_percentile"].to_list() == [sum(cut < score for cut in spec.cuts) for score in found]
    assert (table["propensity_buys_decile"] == 10 - table["propensity_buys_percentile"] // 10).all()
    unlikely = table.filter(pl.col("propensity_buys_class") == "unlikely")["propensity_buys"]
    assert unlikely.to_list() == [score for score in found if score < spec.base_rate]


def features_of(out: Path) -> pl.DataFrame:
    money = (pl.col("rfm_monetary") * 100).round().cast(pl.Int64)
    return published(out, "features").drop("as_of").with_columns(rfm_monetary_minor=money)


def test_users_outside_a_population_have_no_propensity(out: Path, bundle: Bundle) -> None:
    [model] = bundle.models
    target = model.spec.target.model_copy(update={"population": "region = 'sud' AND tenure_days > 0"})
    about_some = replace(bundle, models=(replace(model, spec=replace(model.spec, target=target)),))
    scored = add_scores(features_of(out), about_some, threads=1)
    inside = (pl.col("region") == "sud") & (pl.col("tenure_days") > 0)
    columns = [name for name in bundle_schema(bundle) if name.startswith("propensity_")]
    expected = published(out, "scores").select(columns)
    found = as_published(scored.filter(inside).select(columns))
    assert_frame_equal(found, expected.filter(scored.select(inside).to_series()))
    outside = scored.filter(inside.not_() | pl.col("region").is_null()).select(columns)
    assert 0 < outside.height < scored.height
    assert outside.null_count().row(0) == (outside.height,) * len(columns)


def task_of(bundle: str, keys: KeyRange, shelf: Shelf, folder: Path, staging: Path) -> ScoreTask:
    learnt = load_bundle(Path(bundle))
    attributes: dict[str, pl.DataType] = {"region": pl.String()}
    return ScoreTask(
        bucket=0,
        keys=keys,
        shelf=shelf,
        contacts=str(folder / "contacts.parquet"),
        as_of=AS_OF,
        mark="m",
        bundle=bundle,
        applied=applied_of(
            Config.model_validate({"sources": SOURCES, "events": {"purchase": "purchase"}}), learnt.spec, attributes
        ),
        staging=str(staging),
        threads=1,
    )


SOURCES = ({"name": "log", "path": "log", "columns": {"user_id": "u", "event_type": "t", "event_time": "at"}},)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """Three users with one event, one of them after `AS_OF`, in the lower half of the keys; contacts beside it."""
    day = day_number(AS_OF)
    keys = pl.Series("user_key", [1, 2, 3], pl.UInt64)
    pl.DataFrame([keys, pl.Series("user_id", [101, 102, 103])]).write_parquet(tmp_path / "users.parquet")
    values = {"type": [0, 0, 0], "day": [day - 3, day - 1, day], "events": [1, 1, 1], "amount_minor": [0, 0, 0]}
    pl.DataFrame(values, {"type": pl.UInt16, "day": pl.Int32, "events": pl.Int64, "amount_minor": pl.Int64}).select(
        keys, pl.all()
    ).write_parquet(tmp_path / "daily.parquet")
    attributes = {"user_key": [2, 3], "user_id": ["102", "103"], "region": ["sud", "sud"]}
    pl.DataFrame(attributes, {"user_key": pl.UInt64, "user_id": pl.String, "region": pl.String}).write_parquet(
        tmp_path / "contacts.parquet"
    )
    files = ((str(tmp_path / "users.parquet"),), (str(tmp_path / "daily.parquet"),), ())
    return Shelf(*files, event_columns=(), codes=(0, 1, 2), event_types=(), end_day=day)


def test_a_bucket_without_users_gives_no_files_and_the_same_schemas(
    run: RunRecord, shelf: Shelf, tmp_path: Path
) -> None:
    bundle = str(run.bundle)
    full = score_bucket(task_of(bundle, KeyRange(0, KEYS // 2), shelf, tmp_path, tmp_path / "full"))
    empty = score_bucket(task_of(bundle, KeyRange(KEYS // 2, KEYS), shelf, tmp_path, tmp_path / "empty"))
    assert (full.users, full.kept, full.contacts_matched) == (2, 2, 1)
    assert (empty.users, empty.kept, empty.contacts_matched) == (0, 0, 0)
    assert empty.schemas == full.schemas
    assert empty.files == {"features": (), "scores": ()}
    assert empty.pieces == {"points": (), "segments": ()}
    assert not (tmp_path / "empty").exists()
    assert empty.segments == {}
    assert (full.drift is None) == (empty.drift is None)
    assert sum(piece.rows for piece in full.pieces["segments"]) == 2


def test_a_bucket_counts_its_users_in_the_bins_of_the_bundle(
    bundle: Bundle, out: Path, shelf: Shelf, tmp_path: Path
) -> None:
    everything = published(out, "features").join(published(out, "scores"), on="user_id")
    reference = fit_reference(everything, ["tenure_days"], ["region"], 4, ["propensity_buys"])
    folder = tmp_path / "with_drift"
    for name, text in bundle_files(replace(bundle, drift=reference)).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    keys = (KeyRange(0, KEYS // 2), KeyRange(KEYS // 2, KEYS))
    tasks = [task_of(str(folder), part, shelf, tmp_path, tmp_path / "staging") for part in keys]
    full, empty = (score_bucket(task).drift for task in tasks)
    assert full is not None
    assert empty is not None
    assert (full.rows, empty.rows) == (2, 0)
    assert [sum(bins) + nulls for bins, nulls in zip(full.bins, full.nulls, strict=True)] == [2, 2, 2]
    # One of the two has a contact, of region "sud".
    assert (full.bins[1], full.nulls[1]) == ((0, 1, 0), 1)
    assert add(full, empty) == full


def test_scores_of_nobody_have_the_columns_of_scores(bundle: Bundle, out: Path) -> None:
    features = published(out, "features").drop("as_of").with_columns(rfm_monetary_minor=pl.lit(0, pl.Int64))
    scored = add_scores(features.clear(), bundle, threads=1)
    schema = bundle_schema(bundle)
    assert {name: scored.schema[name] for name in schema} == schema
    assert scored.height == 0


def test_a_user_alone_has_the_scores_it_has_in_the_crowd(bundle: Bundle, out: Path) -> None:
    features = features_of(out)
    expected = published(out, "scores").drop("as_of", "mood")
    for position in (0, 9, 30):
        alone = add_scores(features[position : position + 1], bundle, threads=1).select(expected.columns)
        assert_frame_equal(as_published(alone), expected[position : position + 1], check_exact=True)


def test_attributes_that_came_later_are_left_out(bundle: Bundle) -> None:
    found = check_attributes(bundle, {"age": pl.Int64(), "region": pl.String()})
    assert found == {"region": pl.String()}


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ({}, ["region: expected String, it is missing"]),
        ({"region": pl.Int64()}, ["region: expected String, got Int64"]),
        ({"Region": pl.String()}, ["region: expected String, it is missing"]),
    ],
)
def test_attributes_that_changed_are_refused(
    attributes: dict[str, pl.DataType], named: list[str], bundle: Bundle
) -> None:
    with pytest.raises(DataError) as caught:
        check_attributes(bundle, attributes)
    assert caught.value.code == "contacts-changed"
    assert all(text in caught.value.message for text in named)


def test_contacts_of_another_type_stop_the_run_before_any_work(
    sample: Path, run: RunRecord, out: Path, tmp_path: Path
) -> None:
    file = tmp_path / "contacts.parquet"
    contacts(USERS).with_columns(region=pl.lit(7)).write_parquet(file)
    before = sorted(out.rglob("*"))
    with pytest.raises(DataError) as caught:
        score_run(configuration(sample, contacts__path=str(file)), AS_OF, executor=EXECUTOR)
    assert caught.value.code == "contacts-changed"
    assert sorted(out.rglob("*")) == before


def test_infinite_attributes_that_are_read_are_refused(tmp_path: Path) -> None:
    file = write_sample(tmp_path, users=USERS)
    people = contacts(USERS).with_columns(age=pl.lit(30.5), height=pl.lit(1.7))
    people.write_parquet(tmp_path / "contacts.parquet")
    config = configuration(file, contacts__model_columns=["age"], clusters__enabled=False)
    bundle = load_bundle(Path(str(fit_run(config, AS_OF, executor=EXECUTOR).bundle)))
    infinite = pl.lit(math.inf)
    customer = pl.col("customer")
    # No model reads the height, and nobody beyond the last user is in the log.
    people = people.with_columns(height=infinite, age=pl.when(customer > USERS).then(infinite).otherwise("age"))
    people.write_parquet(tmp_path / "contacts.parquet")
    score_run(config, AS_OF, executor=EXECUTOR)
    people = people.with_columns(age=pl.when(customer % 7 == 0).then(-infinite).otherwise("age"))
    people.write_parquet(tmp_path / "contacts.parquet")
    before = files(tmp_path / "out")
    with pytest.raises(DataError) as caught:
        score_run(config, AS_OF, executor=EXECUTOR)
    assert caught.value.code == "model-features"
    assert f"  'age': {USERS // 7} of {USERS} users" in caught.value.message
    assert "height" not in caught.value.message
    assert files(tmp_path / "out") == before
    users = people.rename({"customer": "user_id"})
    assert infinite_attributes(users, bundle) == {"age": USERS // 7 + 4}
    assert infinite_attributes(users, replace(bundle, models=())) == {}


def test_user_ids_of_another_type_are_refused(bundle: Bundle) -> None:
    check_user_ids(bundle, "Int64")
    with pytest.raises(IntegrityError) as caught:
        check_user_ids(bundle, "String")
    assert caught.value.code == "bundle-user-id-type"
    assert "Int64" in caught.value.message
    assert "String" in caught.value.message
