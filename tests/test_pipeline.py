from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine import pipeline
from engine.config import Config
from engine.errors import ConfigError, ConflictError, DataError, IntegrityError, TamisError
from engine.execution.local import LocalExecutor
from engine.pipeline import check_run, fit_run, run, score_run
from engine.progress import ProgressEvent
from engine.record import RunRecord
from engine.tables.lock import writer_lock
from engine.tables.manifest import read_manifest
from engine.tables.verify import verify_table
from tests.samples import AS_OF, TOML, configuration, files, mail, rows_of, shop, write_sample

LOCAL = LocalExecutor(threads=1)
TABLES = {
    "features",
    "scores",
    "segments",
    "memberships",
    "membership_changes",
    "drift",
    "quality",
    "segment_definitions",
    "segment_kpis",
    "segment_composition",
    "rfm_grid",
    "score_distribution",
    "segment_flows",
}
SINGLE = {
    "quality",
    "drift",
    "segment_definitions",
    "segment_kpis",
    "segment_composition",
    "rfm_grid",
    "score_distribution",
    "segment_flows",
}


@dataclass(frozen=True)
class Sample:
    """A log and what a fit and a score of it made."""

    file: Path
    config: Config
    fitted: RunRecord
    scored: RunRecord

    @property
    def out(self) -> Path:
        return Path(self.config.out)

    def elsewhere(self, folder: Path, **overrides: object) -> Config:
        """The same log and a copy of the output."""
        shutil.copytree(self.out, folder / "copy")
        return configuration(self.file, out=str(folder / "copy"), **overrides)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    # In four buckets, not in the two that most tests do with.
    file = write_sample(
        tmp_path_factory.mktemp("sample"), toml=TOML.replace("rows_per_task = 920", "rows_per_task = 460")
    )
    config = configuration(file)
    return Sample(file, config, fit_run(config, AS_OF, executor=LOCAL), score_run(config, AS_OF, executor=LOCAL))


# ------------------------------------------------------------------------------------------------------ the same bytes


@pytest.mark.parametrize(("where", "cpus"), [("local", 2), pytest.param("ray", 1, marks=pytest.mark.ray)])
def test_the_same_bytes_wherever_it_runs(
    request: pytest.FixtureRequest, sample: Sample, tmp_path: Path, where: str, cpus: int
) -> None:
    config = configuration(
        sample.file, out=str(tmp_path / "out"), execution__executor=where, execution__cpus_per_task=cpus
    )
    assert len(read_manifest(sample.out / "_manifests" / f"as_of={AS_OF}.json").tables) == len(TABLES)
    assert len(list(sample.out.glob("features/as_of=*/*.parquet"))) == 4
    if where == "local":
        made = run(config, AS_OF, executor=LocalExecutor(threads=cpus))
    else:
        from engine.execution.on_ray import ray_executor

        request.getfixturevalue("ray_session")
        with ray_executor(config.execution) as executor:
            made = run(config, AS_OF, executor=executor)
    assert files(tmp_path / "out") == files(sample.out)
    assert made.run_id == sample.scored.run_id


def test_the_same_rows_in_other_portions(sample: Sample, tmp_path: Path) -> None:
    config = configuration(sample.file, out=str(tmp_path / "out"), execution__rows_per_task=700)
    fitted = fit_run(config, AS_OF, executor=LOCAL)
    score_run(config, AS_OF, executor=LOCAL)
    assert Path(str(fitted.bundle)).name == Path(str(sample.fitted.bundle)).name
    for table in TABLES:
        assert rows_of(tmp_path / "out", table) == rows_of(sample.out, table)


def test_a_second_run_changes_nothing(sample: Sample, tmp_path: Path) -> None:
    config = sample.elsewhere(tmp_path)
    assert run(config, AS_OF, executor=LOCAL).run_id == sample.scored.run_id
    assert fit_run(config, AS_OF, executor=LOCAL).run_id == sample.fitted.run_id
    assert files(Path(config.out)) == files(sample.out)


# ---------------------------------------------------------------------------------------------------------- the record


def test_every_row_is_accounted_for(sample: Sample) -> None:
    rows = shop().height + mail().height
    for record in (sample.fitted, sample.scored):
        counts = dict(record.counts["rows"])
        assert counts.pop("read") == rows
        assert sum(counts.values()) == rows
        assert record.counts["sources"] == {"shop": shop().height, "mail": mail().height}
        assert record.counts["users"] == 80
    assert sum(kinds["kept"] for kinds in sample.scored.counts["events"].values()) == rows
    assert sum(size["users"] for size in sample.scored.counts["segments"].values()) == 80
    assert sample.scored.counts["contacts"] == {"read": 84, "left_out": 0, "matched": 80}


def test_the_record_the_manifest_and_the_files_agree(sample: Sample) -> None:
    manifest = read_manifest(sample.out / "_manifests" / f"as_of={AS_OF}.json")
    assert {table.name for table in manifest.tables} == sample.scored.tables.keys() == TABLES
    for table in manifest.tables:
        verify_table(sample.out, table, deep=True)
        summary = sample.scored.tables[table.name]
        read = pl.read_parquet(f"{summary.path}/**/*.parquet", hive_partitioning=False)
        assert (summary.rows, summary.files) == (read.height, len(list(Path(summary.path).rglob("*.parquet"))))
        assert tuple((name, str(dtype)) for name, dtype in read.schema.items()) == table.schema
    assert manifest.run_id == sample.scored.run_id
    assert manifest.bundle == Path(str(sample.scored.bundle)).name
    assert json.loads(json.dumps(manifest.counts)) == json.loads(json.dumps(sample.scored.counts))


def test_the_record_is_json(sample: Sample) -> None:
    answer = json.loads(json.dumps(sample.scored.to_dict()))
    assert list(answer) == ["run_id", "as_of", "counts", "timings", "tables", "bundle"]
    assert list(answer["timings"]) == ["read", "score", "ledger", "publish", "total"]
    assert answer["tables"]["segments"].keys() == {"path", "rows", "files", "bytes"}
    assert answer["bundle"].startswith(str(sample.out))


def test_every_user_is_in_one_segment_and_files_are_sorted(sample: Sample) -> None:
    users = [row["user_id"] for row in pl.read_parquet(f"{sample.out}/segments/**/*.parquet").to_dicts()]
    assert sorted(users) == list(range(1, 81))
    by_user = [file for table in TABLES - SINGLE for file in sample.out.glob(f"{table}/**/*.parquet")]
    assert len(by_user) > 8 * 2
    for file in by_user:
        ids = pl.read_parquet(file, hive_partitioning=False)["user_id"].to_list()
        assert ids == sorted(ids), file


def test_names_with_accents_spaces_and_slashes(sample: Sample) -> None:
    folder = sample.out / "segments" / f"as_of={AS_OF}" / "segment=North%20%2F%20big"
    found = pl.read_parquet(f"{folder}/*.parquet", hive_partitioning=False)["user_id"]
    in_memberships = pl.read_parquet(f"{sample.out}/memberships/**/*.parquet").filter(
        pl.col("segment") == "North / big"
    )
    assert found.len() == sample.scored.counts["segments"]["North / big"]["users"] > 0
    assert sorted(found) == sorted(in_memberships["user_id"])


def test_progress_goes_from_zero_to_all_in_every_stage(sample: Sample, tmp_path: Path) -> None:
    seen: list[ProgressEvent] = []
    run(configuration(sample.file, out=str(tmp_path / "out")), AS_OF, executor=LOCAL, progress=seen.append)
    stages = [event.stage for event in seen if event.done == 0]
    reading = ["read events", "read contacts"]
    clusters = ["choose clusters", "prepare clusters", "resample", "describe clusters"]
    assert stages == ["find event types", *reading, "features", *clusters, "learn", *reading, "score", "ledger"]
    for begins in [position for position, event in enumerate(seen) if event.done == 0]:
        stage = seen[begins : begins + seen[begins].total + 1]
        assert [(event.stage, event.done) for event in stage] == [
            (seen[begins].stage, done) for done in range(seen[begins].total + 1)
        ]
    # What the fit read is not read again.
    assert [event.total > 0 for event in seen if event.stage == "read events" and event.done == 0] == [True, False]


# ------------------------------------------------------------------------------------------------------ when run refits


@pytest.mark.parametrize(
    ("days", "overrides", "refits"),
    [
        (0, {}, False),
        (6, {}, False),
        (7, {}, True),
        (3, {"refit_after_days": 3}, True),
        (-1, {}, True),
        (0, {"seed": 2}, True),
        (0, {"model__trees": 9}, True),
        (0, {"features__windows": [7, 30, 60]}, True),
        (0, {"segments": [{"name": "warm", "where": "engagement_score > 50"}]}, False),
        (0, {"execution__rows_per_task": 5_000}, False),
        (0, {"checks__max_reject_share": 0.1}, False),
    ],
)
def test_run_fits_when_it_has_to(
    sample: Sample,
    monkeypatch: pytest.MonkeyPatch,
    days: int,
    overrides: dict[str, object],
    refits: bool,
) -> None:
    did: list[str] = []
    for name, record in (("fit_opened", sample.fitted), ("_score", sample.scored)):
        monkeypatch.setattr(pipeline, name, lambda *_, name=name, record=record: did.append(name) or record)
    config = configuration(sample.file, **overrides)
    record = pipeline.run(config, AS_OF + timedelta(days=days), executor=LOCAL)
    assert did == (["fit_opened", "_score"] if refits else ["_score"])
    assert ("models" in record.counts) is refits
    assert ("fit.learn" in record.timings) is refits


def test_run_takes_the_bundle_of_its_time(sample: Sample, tmp_path: Path) -> None:
    columns = {"user_id": "customer", "event_type": {"value": "purchase"}, "event_time": "at", "amount": "total"}
    source = {"name": "shop", "path": str(sample.file.parent / "shop"), "columns": columns}
    usual = {"out": str(tmp_path / "out"), "sources": (source,), "refit_after_days": 3, "clusters": {"enabled": False}}

    def bundle_of(as_of: date, **changes: object) -> str:
        config = Config.model_validate({**usual, **changes})
        return Path(str(run(config, as_of, executor=LOCAL).bundle)).name

    first = bundle_of(AS_OF, segment_fallback="all")
    assert bundle_of(AS_OF + timedelta(days=2), segment_fallback="others") == first
    later = bundle_of(AS_OF + timedelta(days=3), segment_fallback="all")
    assert later != first
    assert bundle_of(AS_OF, segment_fallback="all") == first
    assert bundle_of(AS_OF, segment_fallback="all", seed=2) not in {first, later}


def test_an_older_bundle_can_be_named(sample: Sample, tmp_path: Path) -> None:
    config = sample.elsewhere(tmp_path)
    older = sample.fitted.bundle
    fit_run(config, AS_OF + timedelta(days=1), executor=LOCAL)
    record = score_run(config, AS_OF, executor=LOCAL, bundle=Path(str(older)))
    assert record.run_id == sample.scored.run_id
    assert record.bundle == older


def test_a_bundle_is_named_by_what_is_in_it(sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = sample.elsewhere(tmp_path)
    shutil.copytree(str(sample.fitted.bundle), tmp_path / "x" / "prod")
    other = Path(str(fit_run(config, AS_OF - timedelta(days=1), executor=LOCAL).bundle))
    shutil.copytree(other, tmp_path / "y" / "prod")
    monkeypatch.chdir(tmp_path / "x" / "prod")
    first = score_run(config, AS_OF, executor=LOCAL, bundle=Path())
    assert first.run_id == sample.scored.run_id
    manifest = Path(config.out) / "_manifests" / f"as_of={AS_OF}.json"
    assert read_manifest(manifest).bundle == Path(str(sample.fitted.bundle)).name
    second = score_run(config, AS_OF, executor=LOCAL, bundle=tmp_path / "y" / "prod")
    assert second.run_id != first.run_id
    assert read_manifest(manifest).bundle == read_manifest(manifest).fingerprints["bundle"] == other.name


@pytest.mark.slow
def test_a_back_fill_leaves_the_bundle_of_other_days_alone(sample: Sample, tmp_path: Path) -> None:
    config = sample.elsewhere(tmp_path)
    earlier = run(config, AS_OF - timedelta(days=10), executor=LOCAL).bundle
    assert Path(str(earlier)).name != Path(str(sample.fitted.bundle)).name
    late = score_run(config, AS_OF + timedelta(days=100), executor=LOCAL)
    assert Path(str(late.bundle)).name == Path(str(sample.fitted.bundle)).name
    again = score_run(config, AS_OF - timedelta(days=1), executor=LOCAL)
    assert again.bundle == earlier


@pytest.mark.slow
def test_a_corrected_log_is_fitted_again_on_the_same_day(copied: Path) -> None:
    config = configuration(copied)
    first = str(run(config, AS_OF, executor=LOCAL).bundle)
    more_shop(copied, [(customer, f"new{customer}", datetime(2026, 2, 1, tzinfo=UTC), 90.0) for customer in range(30)])
    corrected = str(fit_run(config, AS_OF, executor=LOCAL).bundle)
    assert corrected != first
    assert run(config, AS_OF, executor=LOCAL).bundle == corrected
    (copied.parent / "shop" / "more.parquet").unlink()
    assert fit_run(config, AS_OF, executor=LOCAL).bundle == first
    assert score_run(config, AS_OF, executor=LOCAL).bundle == first


@pytest.mark.parametrize("older", [True, False])
def test_run_gets_by_without_a_damaged_bundle(sample: Sample, tmp_path: Path, older: bool) -> None:
    config = sample.elsewhere(tmp_path)
    [whole] = (path.parent for path in Path(config.out).glob("_bundles/*/files.json"))
    day = AS_OF + timedelta(days=1)
    newer = Path(str(fit_run(config, day, executor=LOCAL).bundle))
    damaged = [newer] if older else [newer, whole]
    for folder in damaged:
        (folder / "clusters.json").write_text("{}")
    record = run(config, day, executor=LOCAL)
    assert Path(str(record.bundle)) == (whole if older else newer)
    assert ("models" in record.counts) is not older


# ----------------------------------------------------------------------------------- input that is no longer the same


def string_ids(file: Path) -> None:
    for path in (*file.parent.glob("*/000.parquet"), file.parent / "contacts.parquet"):
        pl.read_parquet(path).with_columns(pl.col("customer").cast(pl.String)).write_parquet(path)


def other_attribute_type(file: Path) -> None:
    path = file.parent / "contacts.parquet"
    pl.read_parquet(path).with_columns(pl.col("age").cast(pl.Float64)).write_parquet(path)


def no_attribute(file: Path) -> None:
    path = file.parent / "contacts.parquet"
    pl.read_parquet(path).drop("age").write_parquet(path)


def one_attribute_more(file: Path) -> None:
    path = file.parent / "contacts.parquet"
    pl.read_parquet(path).with_columns(more=pl.lit(1)).write_parquet(path)


@pytest.fixture(scope="module")
def aged(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """The sample with an age, and a bundle that knows of it."""
    file = write_sample(tmp_path_factory.mktemp("aged"))
    path = file.parent / "contacts.parquet"
    pl.read_parquet(path).with_columns(age=pl.col("customer") % 50).write_parquet(path)
    config = configuration(file)
    fitted = fit_run(config, AS_OF, executor=LOCAL)
    return Sample(file, config, fitted, fitted)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param(string_ids, "bundle-user-id-type", marks=pytest.mark.slow),
        (other_attribute_type, "contacts-changed"),
        pytest.param(no_attribute, "contacts-changed", marks=pytest.mark.slow),
        (one_attribute_more, None),
    ],
)
def test_run_fits_again_when_types_have_changed(
    change: Callable[[Path], None], code: str | None, aged: Sample, tmp_path: Path
) -> None:
    shutil.copytree(aged.file.parent, tmp_path / "log")
    config = configuration(tmp_path / "log" / "tamis.toml")
    first = str(Path(config.out) / "_bundles" / Path(str(aged.fitted.bundle)).name)
    change(tmp_path / "log" / "tamis.toml")
    if code is None:
        assert score_run(config, AS_OF, executor=LOCAL).bundle == first
        return
    with pytest.raises(TamisError) as caught:
        score_run(config, AS_OF, executor=LOCAL)
    assert caught.value.code == code
    record = run(config, AS_OF, executor=LOCAL)
    assert record.bundle != first
    assert "models" in record.counts


class Meddling(LocalExecutor):
    """Something else writes to the input while a stage is at work."""

    def __init__(self, file: Path, stage: str) -> None:
        super().__init__(threads=1)
        self.file, self.stage = file, stage

    def map(self, function: Any, tasks: Any, *, on_done: Any = None, **more: Any) -> Any:
        results = super().map(function, tasks, on_done=on_done)
        if function.__name__ == self.stage:
            pl.read_parquet(self.file)[:-1].write_parquet(self.file)
        return results


@pytest.mark.parametrize("name", ["shop/000.parquet", "contacts.parquet"])
@pytest.mark.parametrize(
    ("command", "stage"),
    [(fit_run, "learn"), (score_run, "score_bucket"), pytest.param(run, "learn", marks=pytest.mark.slow)],
)
def test_input_that_changes_during_a_run_is_noticed(
    command: Callable[..., RunRecord], stage: str, name: str, copied: Path
) -> None:
    config = configuration(copied, **({"seed": 2} if command is run else {}))
    before = files(copied.parent / "out")
    with pytest.raises(IntegrityError) as caught:
        command(config, AS_OF, executor=Meddling(copied.parent / name, stage))
    assert caught.value.code == "input-changed"
    assert name in caught.value.message
    assert files(copied.parent / "out") == before


# ----------------------------------------------------------------------------------------------------------- the future


def test_events_at_or_after_as_of_are_left_out_and_counted(sample: Sample, tmp_path: Path) -> None:
    midnight = datetime(2026, 2, 20, tzinfo=UTC)
    record = run(configuration(sample.file, out=str(tmp_path / "out")), midnight.date(), executor=LOCAL)
    future = sum((frame["at"] >= midnight).sum() for frame in (shop(), mail()))
    assert future > 0
    assert record.counts["rows"]["after_as_of"] == future
    assert record.counts["rows"]["kept"] == shop().height + mail().height - future


# ------------------------------------------------------------------------------------------------------------- refusals


@pytest.fixture
def copied(sample: Sample, tmp_path: Path) -> Path:
    """The sample with its output, to be spoilt."""
    shutil.copytree(sample.file.parent, tmp_path / "spoilt")
    return tmp_path / "spoilt" / "tamis.toml"


def rewrite(file: Path, *replacements: tuple[str, str]) -> None:
    text = TOML
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")


def more_shop(file: Path, rows: list[tuple[object, ...]]) -> None:
    frame = pl.DataFrame(rows, shop().schema, orient="row", strict=False)
    frame.write_parquet(file.parent / "shop" / "more.parquet")


def truncate(file: Path) -> None:
    log = file.parent / "mail" / "000.parquet"
    log.write_bytes(log.read_bytes()[:-100])


def no_files(file: Path) -> None:
    shutil.rmtree(file.parent / "mail")


def strangers(file: Path) -> None:
    path = file.parent / "contacts.parquet"
    pl.read_parquet(path).with_columns(pl.col("customer") + 10_000).write_parquet(path)


def rejects(file: Path) -> None:
    more_shop(file, [(None, f"bad{index}", datetime(2026, 1, 1, tzinfo=UTC), 1.0) for index in range(5_000)])


def misspelt_type(file: Path) -> None:
    rewrite(file, ('open = "email_open"', 'open = "email_opened"'))


def unknown_rule(file: Path) -> None:
    rewrite(file, ("engagement_score > 60", "engagement_scores > 60"))


def empty_log(file: Path) -> None:
    for source in ("shop", "mail"):
        path = file.parent / source / "000.parquet"
        pl.read_parquet(path).clear().write_parquet(path)


def one_class(file: Path) -> None:
    rewrite(file, ("amount >= 20", "amount >= 20000"))


def short_history(file: Path) -> None:
    rewrite(file, ("horizon_days = 14", "horizon_days = 60"))


def few_users(file: Path) -> None:
    rewrite(file, ("k_min = 2\nk_max = 3", "k_min = 50\nk_max = 50"))
    for source in ("shop", "mail"):
        path = file.parent / source / "000.parquet"
        pl.read_parquet(path).filter(pl.col("customer") <= 30).write_parquet(path)


def doubled_list(file: Path) -> None:
    (file.parent / "vip.txt").write_text("1\n2\n1\n", encoding="utf-8")
    listed = '\n[[segments]]\nname = "VIP"\nlist = "vip.txt"\nfrozen_on = 2025-01-01\n'
    file.write_text(file.read_text(encoding="utf-8") + listed, encoding="utf-8")


REFUSED = [
    (truncate, DataError, "input-unreadable"),
    (no_files, ConfigError, "input-no-files"),
    (strangers, DataError, "contacts-mismatch"),
    (rejects, DataError, "rejects-too-many"),
    (misspelt_type, ConfigError, "event-type-unknown"),
    (unknown_rule, ConfigError, "segment-rules"),
    (empty_log, ConfigError, "event-type-unknown"),
    (one_class, DataError, "model-too-few-positives"),
    (short_history, DataError, "history-too-short"),
    (few_users, DataError, "clusters-too-few-rows"),
    (doubled_list, ConfigError, "segment-list"),
    (string_ids, DataError, "ledger-user-id-type"),
]


@pytest.mark.parametrize(
    ("spoil", "kind", "code", "published"),
    [*((*case, True) for case in REFUSED), (rejects, DataError, "rejects-too-many", False)],
)
def test_what_is_refused_changes_nothing_on_disk(
    copied: Path, spoil: Callable[[Path], None], kind: type[TamisError], code: str, published: bool
) -> None:
    spoil(copied)
    if not published:
        shutil.rmtree(copied.parent / "out")
    before = files(copied.parent)
    with pytest.raises(kind) as caught:
        run(configuration(copied, refit_after_days=1), AS_OF + timedelta(days=1), executor=LOCAL)
    assert caught.value.code == code
    assert caught.value.hint
    assert files(copied.parent) == before
    assert (copied.parent / "out").exists() is published


def test_what_cannot_be_accepted_is_told_before_a_fit(copied: Path) -> None:
    before = files(copied.parent)
    with pytest.raises(ConfigError) as caught:
        run(
            configuration(copied, refit_after_days=1),
            AS_OF + timedelta(days=1),
            executor=LOCAL,
            accept=("jump:nobody",),
        )
    assert caught.value.code == "accept-unknown"
    assert files(copied.parent) == before


def test_without_a_bundle(sample: Sample, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        score_run(configuration(sample.file, out=str(tmp_path / "new")), AS_OF, executor=LOCAL)
    assert caught.value.code == "bundle-missing"
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("days", "overrides", "code"),
    [(-1, {}, "bundle-later"), (0, {"seed": 9}, "bundle-other-configuration")],
)
def test_a_bundle_that_does_not_fit(
    sample: Sample, tmp_path: Path, days: int, overrides: dict[str, object], code: str
) -> None:
    config = sample.elsewhere(tmp_path, **overrides)
    before = files(Path(config.out))
    with pytest.raises(ConfigError) as caught:
        score_run(config, AS_OF + timedelta(days=days), executor=LOCAL)
    assert caught.value.code == code
    assert files(Path(config.out)) == before


@pytest.mark.parametrize(
    ("changes", "sections"),
    [
        ({"seed": 2}, "seed differ"),
        ({"timezone": "Europe/Paris"}, "timezone differ"),
        ({"features__windows": [7, 14]}, "features differ"),
        ({"targets__buys__horizon_days": 7, "clusters__k_max": 4}, "targets, clusters differ"),
        ({"sources__shop__columns__amount": {"value": 1}}, "sources differ"),
        (
            {"rfm__segment_map": "rfm_11", "engagement__window_days": 7, "model__trees": 9},
            "engagement, rfm, model differ",
        ),
        ({"contacts__model_columns": []}, "contacts differ"),
    ],
)
def test_a_bundle_of_another_configuration_is_refused_with_the_sections_named(
    changes: dict[str, object], sections: str, sample: Sample, tmp_path: Path
) -> None:
    config = configuration(sample.file, out=str(tmp_path / "out"), **changes)
    with pytest.raises(ConfigError) as caught:
        score_run(config, AS_OF, executor=LOCAL, bundle=Path(str(sample.fitted.bundle)))
    assert caught.value.code == "bundle-other-configuration"
    assert sections in caught.value.message
    assert str(sample.fitted.bundle) in caught.value.message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["bundle.json", "clusters.json", "targets/buys/model.txt", "targets/buys/model.json"])
def test_a_bundle_with_one_flipped_bit(sample: Sample, tmp_path: Path, name: str) -> None:
    config = sample.elsewhere(tmp_path)
    [bundle] = (path.parent for path in Path(config.out).glob("_bundles/*/files.json"))
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    before = files(Path(config.out))
    with pytest.raises(IntegrityError) as caught:
        score_run(config, AS_OF, executor=LOCAL)
    assert caught.value.code == "bundle-damaged"
    assert name in caught.value.message
    assert files(Path(config.out)) == before


def test_a_new_fit_mends_a_damaged_bundle(sample: Sample, tmp_path: Path) -> None:
    config = sample.elsewhere(tmp_path)
    [listing] = Path(config.out).glob("_bundles/*/files.json")
    listing.write_text("{}")
    assert fit_run(config, AS_OF, executor=LOCAL).run_id == sample.fitted.run_id
    assert files(Path(config.out)) == files(sample.out)


def test_another_run_holds_the_output(sample: Sample, tmp_path: Path) -> None:
    config = sample.elsewhere(tmp_path)
    with writer_lock(Path(config.out), "the other run"), pytest.raises(ConflictError, match="the other run"):
        score_run(config, AS_OF, executor=LOCAL)
    assert files(Path(config.out)) == files(sample.out)


def test_a_stage_that_loses_rows_is_found_out(sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Losing(LocalExecutor):
        def map(self, function: Any, tasks: Any, *, on_done: Any = None, **more: Any) -> Any:
            kept = tasks[:-1] if function.__name__ == "score_bucket" else tasks
            return super().map(function, kept, on_done=on_done)

    config = sample.elsewhere(tmp_path)
    with pytest.raises(IntegrityError) as caught:
        score_run(config, AS_OF, executor=Losing())
    assert caught.value.code == "rows-lost"
    assert files(Path(config.out)) == files(sample.out)


# -------------------------------------------------------------------------------------------------------------- rejects


def test_rejected_rows_are_a_table_and_everyone_else_is_scored(copied: Path) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    more_shop(
        copied,
        [
            (None, "x1", moment, 5.0),
            (3, "x2", None, 5.0),
            (3, "x3", moment, float("nan")),
            (3, "x4", moment, float("inf")),
            (500, "x5", moment, 5.0),
        ],
    )
    config = configuration(copied)
    record = run(config, AS_OF, executor=LOCAL)
    table = pl.read_parquet(f"{record.tables['rejects'].path}/*.parquet")
    assert table["row"].to_list() == [0, 1, 2, 3]
    assert set(table["file"]) == {str(copied.parent / "shop" / "more.parquet")}
    assert dict(table.group_by("rule").len().iter_rows()) == record.counts["rejected"]["shop"]
    assert record.counts["rows"]["rejected"] == 4
    # A user with this one event.
    assert record.counts["users"] == 81
    alone = pl.read_parquet(f"{record.tables['features'].path}/*.parquet").filter(pl.col("user_id") == 500)
    assert alone["purchase_count_30d"].to_list() == [0]
    (copied.parent / "shop" / "more.parquet").unlink()
    run(config, AS_OF, executor=LOCAL)
    assert not Path(record.tables["rejects"].path).exists()


def test_string_ids_come_out_as_strings(tmp_path: Path) -> None:
    file = write_sample(tmp_path)
    for path in (*tmp_path.glob("*/*.parquet"), tmp_path / "contacts.parquet"):
        name = pl.format("ü {}/x", pl.col("customer"))
        pl.read_parquet(path).with_columns(name.alias("customer")).write_parquet(path)
    config = configuration(file)
    run(config, AS_OF, executor=LOCAL)
    users = pl.read_parquet(f"{config.out}/segments/**/*.parquet", hive_partitioning=False)["user_id"]
    assert users.dtype == pl.String
    assert sorted(users) == sorted(f"ü {user}/x" for user in range(1, 81))


# ---------------------------------------------------------------------------------------------------------------- check


@pytest.mark.parametrize("as_of", [None, AS_OF])
def test_check_counts_and_writes_nothing(copied: Path, as_of: date | None) -> None:
    shutil.rmtree(copied.parent / "out")
    more_shop(copied, [(3, "x1", datetime(2026, 5, 1, tzinfo=UTC), 5.0), (None, "x2", None, 5.0)])
    before = files(copied.parent)
    record = check_run(configuration(copied), as_of, executor=LOCAL)
    assert not (copied.parent / "out").exists()
    rows = shop().height + mail().height
    future = 1 if as_of else 0
    assert record.counts["rows"] == {
        "read": rows + 2,
        "left_out": 0,
        "rejected": 1,
        "after_as_of": future,
        "passed": rows + 1 - future,
    }
    assert record.tables == {}
    assert files(copied.parent) == before


# With 59 days more the last event is the first day of the labels.
@pytest.mark.parametrize(("as_of", "refused"), [(None, False), (AS_OF, True), (AS_OF + timedelta(days=59), False)])
def test_check_refuses_a_history_that_fit_refuses(copied: Path, as_of: date | None, refused: bool) -> None:
    config = configuration(copied, targets__buys__horizon_days=60)
    if not refused:
        assert check_run(config, as_of, executor=LOCAL).as_of == as_of
        return
    for command in (check_run, fit_run):
        with pytest.raises(DataError) as caught:
            command(config, as_of, executor=LOCAL)
        assert caught.value.code == "history-too-short"


@pytest.mark.parametrize("command", [check_run, fit_run, run])
def test_a_condition_over_what_no_source_maps_is_refused(copied: Path, command: Callable[..., RunRecord]) -> None:
    with pytest.raises(ConfigError) as caught:
        command(configuration(copied, targets__buys__where="channel = 'web'"), AS_OF, executor=LOCAL)
    assert caught.value.code == "target-where"
