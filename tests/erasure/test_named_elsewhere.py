from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from engine.config import Config
from engine.erasure.erase import erase_people, finish_erasures
from engine.erasure.journal import unfinished
from engine.erasure.resolve import find_people
from engine.errors import IntegrityError
from engine.formats.commit import commit_published
from engine.formats.people import Place
from engine.pipeline import score_run
from engine.stages.verifying import verify_output
from engine.tables.layout import TABLES
from tests.erasure.conftest import World
from tests.erasure.sample import FIRST, LAST, LOCAL, TOML, configured, device, email, person, run_dates, write_sources
from tests.erasure.scan import found_in
from tests.formats.test_erasure import naming

WHO = 7
OLD, FAMILY, RAW, PHONE = "old.box@gone-example.org", "family@example.org", "06 11 22 33 44", "+33611223344"
NAMES = (person(WHO), device(WHO), OLD, RAW, PHONE)
NAMED = (
    TOML.replace('columns = ["region", "email"]', 'columns = ["region", "email", "phone", "referrer"]')
    .replace("[identity]", '[contacts.cleaning]\nemail = "email"\nphone = "phone"\n\n[identity]')
    .replace(
        'user_id = "customer"\ncolumns = ["region"', 'user_id = "customer"\nvalid_from = "since"\ncolumns = ["region"'
    )
    + f'\n[publish]\nformat = "delta"\ntables = {json.dumps(TABLES)}\n'
)


def write_contacts(path: Path) -> None:
    # The person has had two addresses, the later one of a family; ten others name the person.
    since = date(2025, 11, 1)
    rows: list[tuple[object, ...]] = [(person(WHO), "nord", OLD, RAW, None, since)]
    rows += [(person(WHO), "nord", FAMILY, RAW, None, since + timedelta(days=30))]
    for user in range(42):
        if user != WHO:
            named, shares = 10 <= user < 20, 20 <= user < 30
            address = FAMILY.upper() if shares else email(user)
            rows.append((person(user), "sud", address, None, person(WHO) if named else None, since))
    names = ["customer", "region", "email", "phone", "referrer", "since"]
    pl.DataFrame(rows, names, orient="row").write_parquet(path)


def made(folder: Path) -> Config:
    config = configured(write_sources(folder, toml=NAMED))
    write_contacts(folder / "contacts.parquet")
    run_dates(config)
    other = config.publish.model_copy(update={"format": "iceberg", "url": None})
    commit_published(config.model_copy(update={"publish": other}))
    return config


@pytest.mark.slow
def test_gd05_nobody_names_somebody_who_was_erased(tmp_path: Path) -> None:
    pytest.importorskip("deltalake")
    pytest.importorskip("pyiceberg")
    config = made(tmp_path / "w")
    out = Path(config.out)
    people, _ = find_people(config, [person(WHO)])
    assert set(people.addresses) == {OLD, RAW, PHONE}
    formats = [Place.at(str(out / name)) for name in ("_delta", "_iceberg")]
    for place in formats:
        assert any("segment_composition" in name for name in naming(place, NAMES))
        assert not any("segment_composition" in name for name in naming(place, [FAMILY]))
    erase_people(config, [person(WHO)], "ticket")
    assert found_in(out, NAMES) == []
    assert [naming(place, NAMES) for place in formats] == [set(), set()]
    assert verify_output(out, deep=True, executor=LOCAL).problems == ()
    # What others are known by as well stays with them, and so does all else that is told of them.
    for day in (FIRST, LAST):
        features = pl.read_parquet(f"{out}/features/as_of={day}/*.parquet")
        own = features.filter(pl.col("user_id").is_in([person(user) for user in range(10, 20)]))
        assert (own.height, own["referrer"].null_count(), own["email"].null_count()) == (10, 10, 0)
        assert features.filter(pl.col("email").str.to_lowercase() == FAMILY).height == 10
    # The sources name the person still.
    score_run(config, LAST, executor=LOCAL)
    assert found_in(out, NAMES) == []


@pytest.mark.slow
def test_a_file_that_names_somebody_holds_the_erasure_up_and_no_run(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    note = world.out / "notes.txt"
    note.write_text(f"call {person(WHO)}", encoding="utf-8")
    with pytest.raises(IntegrityError) as raised:
        erase_people(world.config, [person(WHO)], "ticket")
    assert raised.value.code == "erasure-incomplete"
    assert person(WHO) not in raised.value.message
    assert len(unfinished(world.out)) == 1
    assert finish_erasures(world.config) == ()
    assert any("notes.txt" in record.getMessage() for record in caplog.records)
    with pytest.raises(IntegrityError):
        erase_people(world.config, [person(9)], "ticket")
    note.unlink()
    assert len(finish_erasures(world.config)) == 1
    assert unfinished(world.out) == []
    assert found_in(world.out, [person(WHO), device(WHO), email(WHO)]) == []


def test_a_table_that_still_holds_somebody_holds_a_run_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from engine.erasure import erase
    from engine.erasure.held import Removed
    from engine.erasure.holdings import HOLDINGS

    kept = tuple(replace(one, erase=lambda *_: Removed()) if one.name == "contacts" else one for one in HOLDINGS)
    monkeypatch.setattr(erase, "HOLDINGS", kept)
    with pytest.raises(IntegrityError):
        erase_people(world.config, [person(WHO)], "ticket")
    with pytest.raises(IntegrityError) as raised:
        finish_erasures(world.config)
    assert raised.value.code == "erasure-incomplete"
