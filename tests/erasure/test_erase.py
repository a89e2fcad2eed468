from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path

import polars as pl
import pytest

from engine.config import Config
from engine.contacts.duplicates.decisions import read_decisions
from engine.erasure.erase import erase_people, plan_erasure
from engine.erasure.held import Place
from engine.erasure.holdings import HOLDINGS, find_everything
from engine.erasure.proof import files_with
from engine.erasure.resolve import find_people
from engine.errors import ConfigError, IntegrityError
from engine.pipeline import score_run
from engine.rollups.index import read_index
from engine.rollups.update import store_folder
from engine.stages.verifying import verify_output
from engine.tables.layout import TABLES, manifest_path
from engine.tables.manifest import read_manifest
from tests.erasure.conftest import World
from tests.erasure.sample import FIRST, LAST, LOCAL, device, email, person, run_dates
from tests.erasure.scan import found_in

WHO = 7
NAMES = (person(WHO), device(WHO), email(WHO))
REASON = "ticket 4711"


def held_files(config: Config, user: str) -> dict[str, set[str]]:
    people, _ = find_people(config, [user])
    found: dict[str, set[str]] = {}
    for holding, held in find_everything(Place(config, people)):
        found.setdefault(holding.name, set()).update(held.files)
    return found


def inodes(out: Path) -> dict[str, int]:
    return {path.relative_to(out).as_posix(): path.stat().st_ino for path in out.rglob("*") if path.is_file()}


def rows(out: Path, table: str, *, without: tuple[str, ...] = ()) -> list[tuple[object, ...]]:
    frames = [
        pl.read_parquet(f"{out}/{table}/as_of={day}/**/*.parquet", hive_partitioning=True).with_columns(
            as_of=pl.lit(day)
        )
        for day in (FIRST, LAST)
        if (out / table / f"as_of={day}").is_dir()
    ]
    frame = pl.concat(frames, how="diagonal_relaxed")
    kept = frame.filter(~pl.col("user_id").is_in(list(without)))
    return sorted(kept.select(sorted(set(kept.columns) - {"run_id"})).rows(), key=repr)


def problems(out: Path) -> tuple[object, ...]:
    return verify_output(out, deep=True, executor=LOCAL).problems


# Not the same rows for everybody, so that each file of a date is needed.
PERSONAL = ("features", "scores", "membership_history", "membership_changes", "memberships", "segments")


def test_gd05_erasure_leaves_no_byte_of_a_person(world: World) -> None:
    planned = plan_erasure(world.config, [person(WHO)])
    before = found_in(world.out, NAMES)
    done = erase_people(world.config, [person(WHO)], REASON)
    # The control: the scan finds the person in every kind of file before.
    kinds = {name.split("/")[0] for name in before}
    assert kinds >= {"_rollups", "_converted", "_bundles", "_contacts", *PERSONAL}
    assert found_in(world.exported, NAMES) == []
    assert found_in(world.out, NAMES) == []
    assert done.planned.known == planned.known == 1
    assert problems(world.out) == ()
    assert [path.name for path in (world.out / "_work").iterdir()] == ["lock"]
    assert not (world.out / "_privacy" / "unfinished").exists()


def test_the_proof_finds_what_the_other_scan_finds(world: World) -> None:
    people, _ = find_people(world.config, [person(WHO)])
    assert set(people.needles) == set(NAMES)
    by_proof = set(files_with(world.out, people))
    assert by_proof >= set(found_in(world.out, NAMES))
    # And those that know the person by a key alone.
    assert any(name.startswith("_rollups/daily/") for name in by_proof)


def test_gd05_others_keep_every_row(world: World) -> None:
    before = {table: rows(world.out, table, without=(person(WHO),)) for table in PERSONAL}
    assert all(len(before[table]) < len(rows(world.out, table)) for table in PERSONAL)
    erase_people(world.config, [person(WHO)], REASON)
    assert {table: rows(world.out, table) for table in PERSONAL} == before


def test_gd05_access_and_erasure_are_one_list(world: World) -> None:
    before = held_files(world.config, person(WHO))
    assert set(before) >= {"rollups", "converted", "bundles", "tables", "contacts", "exports"}
    found = set().union(*before.values())
    for name in found_in(world.out, NAMES):
        assert name in found, f"{name} has the person, and no holding finds it"
    people, _ = find_people(world.config, [person(WHO)])
    erase_people(world.config, [person(WHO)], REASON)
    place = Place(world.config, people)
    assert {holding.name: [held.part for held in holding.find(place)] for holding in HOLDINGS} == {
        holding.name: [] for holding in HOLDINGS
    }


@pytest.mark.parametrize("table", TABLES)
def test_gd05_each_table_is_of_people_or_says_why_not(made: World, table: str) -> None:
    from engine.erasure.tables import NO_PERSON, has_people

    records = {one.name: one for day in (FIRST, LAST) for one in read_manifest(manifest_path(made.out, day)).tables}
    if table in records:
        assert has_people(records[table]) is (table not in NO_PERSON)
    else:
        assert table in {*NO_PERSON, "points"}


def test_a_table_that_is_not_declared_is_refused(world: World) -> None:
    from dataclasses import replace

    from engine.erasure.tables import has_people
    from engine.errors import IntegrityError

    [table] = [one for one in read_manifest(manifest_path(world.out, LAST)).tables if one.name == "features"]
    renamed = replace(table, name="features_by_mail", schema=(("mail", "String"),))
    with pytest.raises(IntegrityError, match="features_by_mail") as raised:
        has_people(renamed)
    assert raised.value.code == "erasure-table"


@pytest.mark.slow
def test_only_files_that_hold_somebody_are_written_again(world: World) -> None:
    planned = set().union(*held_files(world.config, person(WHO)).values())
    before = inodes(world.out)
    erase_people(world.config, [person(WHO)], REASON)
    after = inodes(world.out)
    gone = {name for name in before if after.get(name) != before[name]}
    index = "_rollups/index.json"
    changed_by_others = {name for name in gone if name.startswith(("_manifests/", "_bundles/", "_exports/"))} | {index}
    written_with_them = {name for name in gone if name.endswith("_SUCCESS")}
    assert gone - changed_by_others - written_with_them <= planned
    untouched = [name for name in before if name.split("/")[0] in TABLES and name not in gone]
    assert len(untouched) > 10


@pytest.mark.slow
def test_the_index_adds_up_and_no_unit_is_rolled_up_again(world: World) -> None:
    store = store_folder(world.out)
    before = read_index(store)
    erase_people(world.config, [person(WHO)], REASON)
    after = read_index(store)
    assert [entry.fingerprint for entry in after.entries] == [entry.fingerprint for entry in before.entries]
    assert sum(entry.erased for entry in after.entries) > 0
    for then, now in zip(before.entries, after.entries, strict=True):
        assert now.read == then.read
        counted = [sum(count.rows for count in entry.counts) + entry.erased for entry in (then, now)]
        assert counted[0] == counted[1]
    daily = {file.path for entry in after.entries for file in entry.daily}
    record = score_run(world.config, LAST, executor=LOCAL)
    assert {file.path for entry in read_index(store).entries for file in entry.daily} == daily
    assert record.counts["rows"]["erased"] == sum(entry.erased for entry in after.entries)


def test_gd05_a_later_run_does_not_bring_the_person_back(world: World) -> None:
    erase_people(world.config, [person(WHO)], REASON)
    run_dates(world.config)
    assert found_in(world.out, NAMES) == []
    assert problems(world.out) == ()
    # Also when a text file is converted anew, and all is rolled up again.
    for path in (world.folder / "mail").iterdir():
        content = path.read_bytes()
        path.write_bytes(content + b"person-0001,,email_send,2026-02-19 10:00:00,late-1\n")
        try:
            run_dates(world.config, [LAST])
            assert found_in(world.out, NAMES) == []
        finally:
            path.write_bytes(content)


@pytest.mark.slow
def test_gd05_a_full_run_over_the_same_sources_gives_the_same_users(world: World, tmp_path: Path) -> None:
    erase_people(world.config, [person(WHO)], REASON)
    fresh = world.config.model_copy(update={"out": str(tmp_path / "fresh")})
    for name in ("_bundles", "_privacy"):
        shutil.copytree(world.out / name, tmp_path / "fresh" / name)
    score_run(fresh, FIRST, executor=LOCAL)
    # Two contacts were merged after the first date.
    shutil.copytree(world.out / "_contacts", tmp_path / "fresh" / "_contacts")
    score_run(fresh, LAST, executor=LOCAL)
    for table in PERSONAL:
        assert rows(Path(fresh.out), table) == rows(world.out, table), table


@pytest.mark.slow
def test_the_ledger_goes_on_without_a_correction(world: World) -> None:
    erase_people(world.config, [person(WHO)], REASON)
    record = score_run(world.config, FIRST, executor=LOCAL)
    assert record.counts["users"] == len(rows(world.out, "features")) - len(
        pl.read_parquet(f"{world.out}/features/as_of={LAST}/*.parquet")
    )
    assert problems(world.out) == ()


@pytest.mark.slow
def test_the_manifest_tells_what_ran_and_what_was_erased(world: World) -> None:
    before = {day: read_manifest(manifest_path(world.out, day)) for day in (FIRST, LAST)}
    erase_people(world.config, [person(WHO)], REASON)
    erase_people(world.config, [person(3), person(4)], REASON)
    for day, then in before.items():
        now = read_manifest(manifest_path(world.out, day))
        assert now.run_id == then.run_id
        assert now.fingerprints == then.fingerprints
        assert now.counts["users"] == then.counts["users"]
        features = {table.name: table.rows for table in now.tables}["features"]
        erased = now.counts["erased"]
        assert isinstance(erased, dict)
        assert (features, erased["people"]) == (then.counts["users"] - 3, 3)  # type: ignore[operator]


@pytest.mark.slow
def test_the_receipt_names_nobody(world: World) -> None:
    done = erase_people(world.config, [person(WHO), "nobody-of-ours"], REASON)
    [name] = done.receipts
    text = (world.out / name).read_text(encoding="utf-8")
    receipt = json.loads(text)
    assert not any(needle in text for needle in (*NAMES, "nobody-of-ours"))
    assert receipt["people"] == 1
    assert receipt["reason"] == REASON
    assert receipt["dates"] == [str(FIRST), str(LAST)]
    assert {one["as_of"] for one in receipt["learnt_from"]} == {str(FIRST), str(LAST)}
    assert [one["tool"] for one in receipt["exports"]] == ["csv"]
    assert set(receipt["sources"]) == {"shop", "mail", "contacts", "identity"}
    assert receipt["holdings"]["tables"]["rows"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("asked", [person(WHO), device(WHO)])
def test_all_ids_of_a_person_go(world: World, asked: str) -> None:
    erase_people(world.config, [asked], REASON)
    assert found_in(world.out, NAMES) == []


@pytest.mark.slow
def test_merged_contacts_are_one_person(world: World) -> None:
    erase_people(world.config, [person(12)], REASON)
    gone = [name for who in (11, 12) for name in (person(who), device(who), email(who))]
    assert found_in(world.out, gone) == []
    assert read_decisions(world.out) == ()
    run_dates(world.config, [LAST])
    assert found_in(world.out, gone) == []
    assert problems(world.out) == ()


def test_gd05_an_unknown_user_is_told_and_nothing_happens(world: World) -> None:
    before = inodes(world.out)
    done = erase_people(world.config, ["nobody-of-ours"], REASON)
    assert (done.planned.known, done.planned.unknown, done.receipts) == (0, (1,), ())
    assert {name: number for name, number in inodes(world.out).items() if not name.startswith("_work/")} == {
        name: number for name, number in before.items() if not name.startswith("_work/")
    }


@pytest.mark.slow
def test_gd05_erasing_again_does_nothing(world: World) -> None:
    erase_people(world.config, [person(WHO)], REASON)
    before = {name: (world.out / name).read_bytes() for name in inodes(world.out)}
    again = erase_people(world.config, [person(WHO)], REASON)
    assert (again.planned.before, again.receipts) == ((1,), ())
    assert {name: (world.out / name).read_bytes() for name in inodes(world.out)} == before


def test_a_plan_writes_nothing(world: World) -> None:
    before = inodes(world.out)
    planned = plan_erasure(world.config, [person(WHO), "nobody-of-ours"])
    assert inodes(world.out) == before
    assert (planned.known, planned.unknown) == (1, (2,))
    assert {"rollups", "tables", "exports"} <= set(planned.holdings)


@pytest.mark.slow
def test_bundles_name_a_neighbour_in_place_of_the_person(world: World) -> None:
    from engine.bundle import load_bundle
    from engine.bundle_store import current_bundle

    folder = current_bundle(world.out)
    assert folder is not None
    edges = load_bundle(folder).rfm_edges
    assert edges is not None
    [who, *_] = edges.frequency.users
    before = rows(world.out, "features", without=(str(who),))
    erase_people(world.config, [str(who)], REASON)
    now = current_bundle(world.out)
    assert now is not None
    assert now != folder
    assert not folder.exists()
    assert read_manifest(manifest_path(world.out, LAST)).bundle == now.name
    score_run(world.config, LAST, executor=LOCAL)
    # The neighbour says the same of everybody else.
    assert rows(world.out, "features") == before
    assert found_in(world.out, [str(who)]) == []


@pytest.mark.parametrize("reason", ["", "  ", f"asked by {person(WHO)}", "asked by a@example.org"])
def test_a_reason_that_names_somebody_is_refused(world: World, reason: str) -> None:
    with pytest.raises(ConfigError) as raised:
        erase_people(world.config, [person(WHO)], reason)
    assert raised.value.code == "erase-reason"


def test_without_a_key_nobody_is_erased(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TAMIS_KEY")
    with pytest.raises(ConfigError) as raised:
        plan_erasure(world.config, [person(WHO)])
    assert raised.value.code == "key-missing"


def test_an_output_that_is_not_there(world: World, tmp_path: Path) -> None:
    elsewhere = world.config.model_copy(update={"out": str(tmp_path / "nothing")})
    done = erase_people(elsewhere, [person(WHO)], REASON)
    assert (done.planned.unknown, done.receipts) == ((1,), ())
    assert not (tmp_path / "nothing").exists()


@pytest.mark.slow
def test_what_reads_the_tables_goes_on(world: World) -> None:
    from typer.testing import CliRunner

    from jobs.app import app

    erase_people(world.config, [person(WHO)], REASON)
    config = ["--config", str(world.folder / "tamis.toml")]
    for arguments in (
        ["why", person(3)],
        ["diff", str(FIRST), str(LAST)],
        ["show"],
        ["report"],
        ["verify", "--deep"],
        ["bundle", "list"],
    ):
        done = CliRunner().invoke(app, [*arguments, *config])
        assert done.exit_code == 0, (arguments, done.output)
        assert person(WHO) not in done.stdout
    done = CliRunner().invoke(app, ["why", person(WHO), *config])
    assert done.exit_code == 2


@pytest.mark.slow
def test_a_date_that_was_done_is_done_still(world: World) -> None:
    from engine.bundle import load_bundle
    from engine.bundle_store import current_bundle
    from engine.schedule.finished import find_finished

    run_dates(world.config, [LAST])
    assert find_finished(world.config, LAST) is not None
    folder = current_bundle(world.out)
    assert folder is not None
    edges = load_bundle(folder).rfm_edges
    assert edges is not None
    erase_people(world.config, [str(edges.recency.users[0]), person(WHO)], REASON)
    assert current_bundle(world.out) != folder
    finished = find_finished(world.config, LAST)
    assert finished is not None
    assert "erased" in finished.counts


@pytest.mark.slow
def test_a_file_that_cannot_be_read_stops_the_erasure_and_it_goes_on_later(world: World) -> None:
    from engine.erasure.journal import unfinished

    [path, *_] = sorted((world.out / "features" / f"as_of={LAST}").glob("*.parquet"))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(IntegrityError) as raised:
        erase_people(world.config, [person(WHO)], REASON)
    assert raised.value.code == "erasure-unreadable"
    assert person(WHO) not in raised.value.message
    path.write_bytes(content)
    erase_people(world.config, [person(WHO)], REASON)
    assert unfinished(world.out) == []
    assert found_in(world.out, NAMES) == []


@pytest.mark.slow
def test_gd05_somebody_who_is_in_an_export_alone_is_known(world: World) -> None:
    [path] = world.exported.glob("spenders*.csv")
    header, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text(header + lines[0].replace(lines[0].split(",")[0], "person-9999") + "".join(lines), encoding="utf-8")
    done = erase_people(world.config, ["nobody-of-ours", "person-9999", person(WHO)], REASON)
    assert (done.planned.known, done.planned.unknown) == (2, (1,))
    assert found_in(world.exported, ["person-9999", *NAMES]) == []


def test_an_export_of_a_date_that_is_no_longer_kept_may_have_had_them(world: World) -> None:
    from engine.erasure.exports import exports_of

    people, _ = find_people(world.config, [person(WHO)])
    [known] = exports_of(Place(world.config, people))
    shutil.rmtree(world.out / "_manifests")
    [listed] = exports_of(Place(world.config, people))
    assert set(known["segments"]) < set(listed["segments"]) == {"spenders", "some", "trial_a", "trial_b"}
    nobody, _ = find_people(world.config, ["nobody-of-ours"])
    assert exports_of(Place(world.config, nobody)) == []


@pytest.mark.slow
def test_halves_of_files_that_killed_attempts_left_go(world: World) -> None:
    rows = pl.DataFrame({"user_id": [person(WHO)]})
    left = [world.out / "_contacts" / ".pairs.parquet.0123456789ab.tmp"]
    left += [
        folder / ".x.parquet.0123456789ab.tmp" for folder in (world.out / "_converted").iterdir() if folder.is_dir()
    ]
    for path in left:
        rows.write_parquet(path)
    assert len(left) > 1
    erase_people(world.config, [person(WHO)], REASON)
    assert [path for path in left if path.exists()] == []


def test_an_id_that_is_not_in_the_store_does_not_take_somebody_elses_rows(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.events import keys

    real = keys.stable_hash
    monkeypatch.setattr(
        keys, "stable_hash", lambda user: real(user.cast(pl.String).replace({"stranger-1": person(WHO)}))
    )
    before = found_in(world.out, NAMES)
    done = erase_people(world.config, ["stranger-1"], REASON)
    assert done.planned.unknown == (1,)
    assert found_in(world.out, NAMES) == before


@pytest.mark.slow
def test_an_export_first_finishes_an_erasure_that_was_cut_short(world: World, tmp_path: Path) -> None:
    from engine.erasure.journal import Journal, Work, unfinished
    from engine.exports.export import export_segments
    from engine.exports.record import Request

    people, _ = find_people(world.config, [person(WHO)])
    Journal(world.out, Work("20260301T000000Z-0a0b0c", REASON, 1, people)).write()
    names = ("spenders", "some", "trial_a", "trial_b")
    export_segments(world.config, Request("csv", names, tmp_path / "again", LAST))
    assert unfinished(world.out) == []
    assert found_in(tmp_path / "again", [person(3)])
    assert found_in(tmp_path / "again", NAMES) == []


def test_an_export_is_for_its_readers_and_listed_as_it_is_wherever_an_erasure_dies(
    world: World, tmp_path: Path
) -> None:
    from engine.erasure.exports import erase_in_exports
    from engine.erasure.journal import Journal, Work
    from engine.exports.listing import listed_exports
    from engine.tables.durable import sha256_of
    from tests.erasure.dying import DiedError, Effects

    people, _ = find_people(world.config, [person(WHO)])
    place, journal = Place(world.config, people), Journal(world.out, Work("name", REASON, 1, people))
    shutil.copytree(world.exported, tmp_path / "exported")
    shutil.copytree(world.out / "_exports", tmp_path / "_exports")
    deaths = 0
    while True:
        dying = Effects(deaths)
        with dying.patched(), suppress(DiedError):
            erase_in_exports(place, journal)
        with_rows = [path for path in world.exported.iterdir() if ".csv" in path.name and path.stat().st_size]
        assert {path.stat().st_mode & 0o777 for path in with_rows} == {0o600}, deaths
        erase_in_exports(place, journal)
        files = {file.path: file for one in listed_exports(world.out) for file in one.files}
        assert {Path(path).name for path in files} == {path.name for path in world.exported.glob("*.csv")}
        for path, file in files.items():
            lines = Path(path).read_text(encoding="utf-8").splitlines()
            assert (file.sha256, file.rows) == (sha256_of(Path(path)), len(lines) - 1), deaths
        assert not [path for path in world.exported.iterdir() if path.name.endswith(".tmp")]
        assert found_in(world.exported, NAMES) == []
        if not dying.dead:
            break
        deaths += 1
        for name, kept in ((world.exported, "exported"), (world.out / "_exports", "_exports")):
            shutil.rmtree(name)
            shutil.copytree(tmp_path / kept, name)
    assert deaths > 5
