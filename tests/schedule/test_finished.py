from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from engine import identity
from engine.config import Config
from engine.execution.local import LocalExecutor
from engine.ledger.cascade import note_publish
from engine.pipeline import fit_run, run
from engine.schedule.finished import UNREAD, find_finished, judge, look_at, read_new
from engine.schedule.settle import finish
from engine.stages.opening import open_run
from engine.tables.durable import durable_json
from engine.tables.layout import bundles_folder, manifest_path
from engine.tables.manifest import manifest_to_json, read_manifest
from tests.samples import files
from tests.schedule.samples import DAYS, config_in, day_of, purchases, write_day, write_log

LOCAL = LocalExecutor(threads=1)
EARLY, LATE = day_of(8), day_of(DAYS)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dates of a log that goes on after the first of them."""
    folder = tmp_path_factory.mktemp("published")
    write_log(folder)
    for day in (EARLY, LATE):
        run(config_in(folder), day, executor=LOCAL)
    return folder


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Iterator[Path]:
    """The same to change, at the same path, as the paths of files are part of what they are.

    What is kept are other names of the same files: a changed file takes the place of the former one.
    """
    kept = shutil.copytree(published, tmp_path / "kept", copy_function=os.link)
    before = files(kept)
    yield published
    shutil.rmtree(published)
    shutil.move(kept, published)
    assert files(published) == before


def reasons(config: Config, as_of: date) -> tuple[str, ...]:
    return judge(look_at(open_run(config)), as_of).reasons


def test_what_is_published_is_done(published: Path) -> None:
    config = config_in(published)
    for day in (EARLY, LATE):
        manifest = find_finished(config, day)
        assert manifest is not None
        assert manifest == read_manifest(manifest_path(Path(config.out), day))
        assert finish(config, day, LOCAL) == manifest
    assert find_finished(config, EARLY + timedelta(days=1)) is None
    assert reasons(config, EARLY + timedelta(days=1)) == ("nothing is published",)


def test_a_look_changes_nothing(published: Path) -> None:
    before = files(published)
    find_finished(config_in(published), EARLY)
    assert files(published) == before


def test_how_and_when_it_runs_does_not_count(published: Path) -> None:
    config = config_in(published, execution__executor="ray", schedule__if_done="skip", execution__retries=1)
    assert find_finished(config, EARLY) is not None


def replace_file(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def drop_a_file(folder: Path) -> Config:
    next(folder.glob(f"out/segments/as_of={EARLY}/*/*.parquet")).unlink()
    return config_in(folder)


def cut_a_file(folder: Path) -> Config:
    replace_file(next(folder.glob(f"out/features/as_of={EARLY}/*.parquet")), b"PAR1")
    return config_in(folder)


def damage_the_manifest(folder: Path) -> Config:
    replace_file(manifest_path(folder / "out", EARLY), b"{")
    return config_in(folder)


def lose_the_bundle(folder: Path) -> Config:
    shutil.rmtree(bundles_folder(folder / "out"))
    return config_in(folder)


def fit_again(folder: Path) -> Config:
    config = config_in(folder)
    fit_run(config, EARLY - timedelta(days=1), executor=LOCAL)
    bundle = read_manifest(manifest_path(Path(config.out), EARLY)).bundle
    shutil.rmtree(bundles_folder(Path(config.out)) / str(bundle))
    return config


def change_contacts(folder: Path) -> Config:
    file = folder / "contacts.parquet"
    contacts = pl.read_parquet(file).with_columns(region=pl.lit("nord"))
    file.unlink()
    contacts.write_parquet(file)
    return config_in(folder)


def remove_a_day(folder: Path) -> Config:
    (folder / "shop" / f"{day_of(2)}.parquet").unlink()
    return config_in(folder)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (drop_a_file, "published files are not there"),
        (cut_a_file, "published files are not there"),
        (damage_the_manifest, "its manifest is damaged"),
        (lambda folder: config_in(folder, segments__0__where="purchase_amount_7d > 41"), "another configuration"),
        (lambda folder: config_in(folder, publish__table_version=2), "another configuration"),
        (lose_the_bundle, "a fit is due"),
        (fit_again, "another bundle"),
        (change_contacts, "other tables beside the log"),
        (remove_a_day, UNREAD),
    ],
)
def test_what_makes_a_date_run_again(folder: Path, change: Callable[[Path], Config], expected: str) -> None:
    config = change(folder)
    assert expected in reasons(config, EARLY)
    assert find_finished(config, EARLY) is None


def test_other_versions_of_the_code(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "version", lambda name: f"{name} 99")
    assert "other versions of the code" in reasons(config_in(published), EARLY)


def test_a_manifest_without_marks_goes_by_all_files(folder: Path) -> None:
    path = manifest_path(folder / "out", EARLY)
    manifest = read_manifest(path)
    plain = {name: mark for name, mark in manifest.fingerprints.items() if name not in {"events", "beside"}}
    durable_json(manifest_to_json(replace(manifest, fingerprints=plain)), path)
    assert reasons(config_in(folder), EARLY) == ()


@pytest.mark.parametrize(
    ("late", "expected"),
    [
        (None, {EARLY: True, LATE: True}),
        (EARLY, {EARLY: True, LATE: False}),
        (EARLY - timedelta(days=1), {EARLY: False, LATE: False}),
    ],
)
def test_new_files_count_for_the_dates_they_have_events_for(
    folder: Path, late: date | None, expected: dict[date, bool]
) -> None:
    write_day(folder, LATE, *([] if late is None else [purchases(late, mark=" late")]))
    config = config_in(folder)
    log = look_at(open_run(config))
    assert log.unread == (("shop", str(LATE)),)
    for day in expected:
        assert judge(log, day).is_undecided
        assert find_finished(config, day) is None
    read = read_new(log, LOCAL)
    assert read.unread == ()
    assert {day: judge(read, day).is_done for day in expected} == expected
    assert {day: find_finished(config, day) is not None for day in expected} == expected
    assert {day: finish(config, day, LOCAL) is not None for day in expected} == expected


def test_a_corrected_day_counts_for_the_dates_after_it(folder: Path) -> None:
    write_day(folder, EARLY, purchases(EARLY, mark=" corrected"))
    config = config_in(folder)
    assert finish(config, EARLY, LOCAL) is not None
    assert finish(config, LATE, LOCAL) is None
    assert reasons(config, LATE) == ("late, corrected or removed events",)


def test_a_date_whose_ledger_waits_for_its_correction_is_not_done(folder: Path) -> None:
    config = config_in(folder)
    note_publish(Path(config.out), EARLY)
    assert find_finished(config, LATE) is None
    assert find_finished(config, EARLY) is not None
    # It is corrected on the way.
    assert finish(config, LATE, LOCAL) is not None
    assert find_finished(config, LATE) is not None
