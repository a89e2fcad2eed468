from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.config import Config
from engine.contacts.duplicates.decisions import Act, contacts_folder, pair_of, write_decisions
from engine.exports.export import export_segments
from engine.exports.record import Request
from engine.tables.durable import durable_parquet_at
from tests.erasure.sample import FIRST, KEY, LAST, TOML, configured, email, person, run_dates, write_sources

import polars as pl  # isort: skip


@dataclass(frozen=True)
class World:
    """Two published dates of a log, with exports, merged contacts and pairs of duplicates."""

    config: Config
    folder: Path

    @property
    def out(self) -> Path:
        return Path(self.config.out)

    @property
    def exported(self) -> Path:
        return self.folder / "mailing"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAMIS_KEY", KEY)


def make_world(folder: Path, toml: str = TOML) -> World:
    config = configured(write_sources(folder, toml=toml))
    world = World(config, folder)
    run_dates(config, [FIRST])
    # Two contacts of one person, found and merged between the two dates.
    write_decisions([Act("merge", pair_of(person(11), person(12)), FIRST)], world.out)
    pairs = pl.DataFrame(
        [(person(11), person(12), 0.97, email(11)), (person(7), person(9), 0.91, email(7))],
        {"user_id": pl.String, "other_id": pl.String, "score": pl.Float64, "email": pl.String},
        orient="row",
    )
    durable_parquet_at(pairs, contacts_folder(world.out) / "pairs.parquet")
    pairs.write_csv(contacts_folder(world.out) / "pairs.csv")
    run_dates(config, [LAST])
    names = ("spenders", "some", "trial_a", "trial_b")
    export_segments(config, Request("csv", names, world.exported, LAST))
    return world


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAMIS_KEY", KEY)
        return make_world(tmp_path_factory.mktemp("world") / "w")


@pytest.fixture
def world(made: World, tmp_path: Path) -> Iterator[World]:
    # In its place, for the rollups know the sources by their paths.
    for name in (made.out, made.exported):
        shutil.copytree(name, tmp_path / "kept" / name.name)
    yield made
    for name in (made.out, made.exported):
        shutil.rmtree(name)
        shutil.copytree(tmp_path / "kept" / name.name, name)
