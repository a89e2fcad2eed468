from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from engine.config_report import Report as Settings
from engine.erasure.erase import erase_people
from engine.erasure.holdings import HOLDINGS, NO_PERSON_PATHS, owners
from engine.erasure.subject import subject_of
from engine.reporting.write import write_report
from engine.stages.verifying import verify_output
from engine.tables.layout import TABLES
from tests.erasure.conftest import World, make_world
from tests.erasure.sample import KEY, LAST, LOCAL, TOML, device, email, person
from tests.erasure.scan import found_in

WHO = 7
NAMES = (person(WHO), device(WHO), email(WHO))
# Everything that can be configured and that writes a file.
EVERYTHING = (
    TOML
    + """
[consent]
path = "consents.parquet"

[publish]
format = "delta"

[report]
language = "en"
"""
)


def write_consents(folder: Path, users: int = 44) -> None:
    rows = [
        (person(user), purpose, "granted", LAST.replace(month=1), "v1", "form")
        for user in range(users)
        for purpose in ("profiling", "email_marketing", "open_tracking")
    ]
    schema = {"user_id": pl.String, "purpose": pl.String, "status": pl.String, "at": pl.Date}
    more = {"form_version": pl.String, "source": pl.String}
    pl.DataFrame(rows, schema | more, orient="row").write_parquet(folder / "consents.parquet")


@dataclass(frozen=True)
class Full:
    """An output with everything on, which one test may change, and the files that were written to it."""

    world: World
    files: tuple[str, ...]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Full:
    folder = tmp_path_factory.mktemp("all")
    write_consents(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAMIS_KEY", KEY)
        world = make_world(folder, toml=EVERYTHING)
    write_report(world.out, LAST, Settings())
    return Full(world, tuple(paths(world.out)))


def paths(out: Path) -> list[str]:
    return [path.relative_to(out).as_posix() for path in sorted(out.rglob("*")) if path.is_file()]


def test_gd05_every_file_that_is_written_belongs_to_one_holding_or_to_nobody(full: Full) -> None:
    found = full.files
    folders = {name.split("/")[0] for name in found}
    assert folders >= {"_rollups", "_converted", "_bundles", "_delta", "_formats", "_contacts", "_exports", "_reports"}
    assert folders >= {"_manifests", "_work", "features", "segments", "memberships", "rejects"} - {"rejects"}
    lost = {name: owned for name in found if len(owned := owners(name)) != 1}
    assert lost == {}


@pytest.mark.parametrize(
    "name",
    [
        "mails/as_of=2026-02-27/part-00000.parquet",
        "_cache/users.parquet",
        "people.csv",
        "_privacy/seen.json",
        "features/part-00000.parquet",
    ],
)
def test_gd05_a_file_that_nobody_declared_is_found(name: str) -> None:
    assert owners(name) == []


@pytest.mark.parametrize("table", TABLES)
def test_each_table_is_declared_once(table: str) -> None:
    assert len(owners(f"{table}/as_of=2026-02-27/part-00000-abc.parquet")) == 1
    assert len(owners(f"{table}/as_of=2026-02-27/_SUCCESS")) == 1


def test_what_is_declared_says_what_it_is() -> None:
    assert len({holding.name for holding in HOLDINGS}) == len(HOLDINGS)
    assert all(len(holding.about) > 20 for holding in HOLDINGS)
    assert all(len(why) > 10 and re.compile(pattern) for pattern, why in NO_PERSON_PATHS.items())


def test_gd05_with_everything_on_nothing_is_left_and_older_versions_neither(full: Full) -> None:
    world = full.world
    before = {name.split("/")[0] for name in found_in(world.out, NAMES)}
    assert before >= {"_delta", "_rollups", "_converted", "_contacts", "features", "membership_history"}
    held = subject_of(world.config, person(WHO))
    assert {part.holding for part in held.held} >= {"rollups", "converted", "tables", "formats", "contacts", "exports"}
    erase_people(world.config, [person(WHO)], "ticket")
    assert found_in(world.out, NAMES) == []
    assert found_in(world.exported, NAMES) == []
    assert subject_of(world.config, person(WHO)).held == ()
    assert verify_output(world.out, deep=True, executor=LOCAL).problems == ()
