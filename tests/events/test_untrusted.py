from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from engine.asked_users import ids_of_file
from engine.config import Checks, Clusters, Columns, Config, Contacts, Identity, Source
from engine.contacts.read import ContactsTask, read_contacts
from engine.contacts.shape import contact_schema
from engine.errors import ConfigError, DataError, ResourceError
from engine.events import untrusted_data
from engine.events.identities import identity_files, read_identities
from engine.events.probe import read_footers
from engine.events.untrusted import DataRequest, data_problems
from engine.events.untrusted_pages import page_sizes
from engine.execution.local import LocalExecutor
from engine.stages.accounting import ingest_counts
from engine.stages.damaged import naming_damaged
from engine.stages.input import Input, open_input
from engine.stages.notices import quarantined_files
from engine.stages.preparation import Prepared, count_rows, prepare
from tests.events.parquet_bombs import BOMBS, bombs, log, mutants, whole_files

FOOTERS_IN_A_CHILD = True

AS_OF = date(2027, 1, 1)
HERE = LocalExecutor(threads=1)
EXPECTED: dict[str, str] = json.loads(Path(__file__).with_name("bad_parquet.json").read_text(encoding="utf-8"))
LONGEST_SECONDS = 10.0


def write(folder: Path, files: Iterable[tuple[str, bytes]]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, content in files:
        paths.append(folder / f"{name}.parquet")
        paths[-1].write_bytes(content)
    return paths


def config(folder: Path, out: Path, bad_files: str) -> Config:
    columns = Columns(user_id="user", event_type="type", event_time="at", amount="amount")
    return Config(
        out=str(out),
        sources=(Source(name="shop", path=str(folder), columns=columns),),
        checks=Checks(max_reject_share=1, bad_files=bad_files),  # type: ignore[arg-type]
        clusters=Clusters(enabled=False),
    )


def prepared(one: Config, work: Path) -> tuple[Input, Prepared]:
    work.mkdir(exist_ok=True)
    given = open_input(one)
    return given, prepare(one, given, AS_OF, work=work, executor=HERE, progress=None)


def verdicts(files: Sequence[Path]) -> dict[Path, str]:
    """`refused` for the footer, `damaged` for the data, or `read`; no file takes longer than it may."""
    found, start = {}, time.monotonic()
    footers = read_footers(files)
    whole = [footer for footer in footers if not footer.problem]
    requests = [DataRequest(str(one.file), tuple(name for name, _ in one.columns), one.rows) for one in whole]
    problems = dict(zip((one.file for one in whole), data_problems(requests), strict=True))
    for footer in footers:
        found[footer.file] = "refused" if footer.problem else "damaged" if problems[footer.file] else "read"
    assert time.monotonic() - start < LONGEST_SECONDS * len(files)
    assert not any("hung" in (problems.get(footer.file) or "") for footer in footers)
    return found


# ------------------------------------------------------------------------------------------------------ what is refused


def test_every_malformed_file_has_an_expectation(reference_data: Path) -> None:
    folder = reference_data / "bad_parquet"
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert there == EXPECTED.keys(), "add each file to tests/events/bad_parquet.json: refused, damaged or read"
    assert len(there) == 145


def check_corpus(folder: Path, names: Sequence[str]) -> None:
    found = verdicts([folder / name for name in names])
    assert {path.relative_to(folder).as_posix(): verdict for path, verdict in found.items()} == {
        name: EXPECTED[name] for name in names
    }
    print(f"{len(names)} malformed files:", dict(Counter(found.values())), "deaths 0, hangs 0")


def test_malformed_files_are_told_from_good_ones(reference_data: Path) -> None:
    kinds = {verdict: [name for name in EXPECTED if EXPECTED[name] == verdict] for verdict in set(EXPECTED.values())}
    assert {kind: len(names) for kind, names in kinds.items()} == {"refused": 109, "damaged": 31, "read": 5}
    check_corpus(reference_data / "bad_parquet", [name for names in kinds.values() for name in names[:12]])


@pytest.mark.slow
def test_all_malformed_files_are_told_from_good_ones(reference_data: Path) -> None:
    check_corpus(reference_data / "bad_parquet", list(EXPECTED))


@pytest.mark.parametrize("name", [name for name in BOMBS if not name.startswith("good")])
def test_bombs_are_refused_before_they_are_read(tmp_path: Path, name: str) -> None:
    content, problem = bombs()[name]
    [footer] = read_footers(write(tmp_path, [(name, content)]))
    assert problem in footer.problem
    assert footer.rows == 0


def test_good_files_are_no_bombs(tmp_path: Path) -> None:
    good = [(name, content) for name, (content, problem) in bombs().items() if not problem]
    files = write(tmp_path, [*good, *whole_files().items()])
    assert set(verdicts(files).values()) == {"read"}


@pytest.mark.parametrize("name", list(whole_files()))
def test_heads_of_pages_add_up_to_what_the_footer_says(tmp_path: Path, name: str) -> None:
    [file] = write(tmp_path, [(name, whole_files()[name])])
    metadata = pq.ParquetFile(file).metadata
    with file.open("rb") as handle:
        for group in range(metadata.num_row_groups):
            for position in range(metadata.num_columns):
                column = metadata.row_group(group).column(position)
                start = min(column.dictionary_page_offset or column.data_page_offset, column.data_page_offset)
                pages = list(page_sizes(handle, start, column.total_compressed_size))
                unfolded, packed = (sum(sizes) for sizes in zip(*pages, strict=True))
                # The totals count the heads as well.
                heads = column.total_compressed_size - packed
                assert heads > 0
                assert unfolded + heads == column.total_uncompressed_size


def test_long_minima_in_the_head_of_a_page(tmp_path: Path) -> None:
    file = tmp_path / "long.parquet"
    table = pl.DataFrame({"user": ["a" * 3_000, "b" * 3_000]}).to_arrow()
    pq.write_table(table, file, compression="zstd", data_page_version="2.0", use_dictionary=False)
    column = pq.ParquetFile(file).metadata.row_group(0).column(0)
    with file.open("rb") as handle:
        assert len(list(page_sizes(handle, column.data_page_offset, column.total_compressed_size))) == 1


# ------------------------------------------------------------------------------------------------- a run with bad files


@pytest.fixture
def damaged_log(tmp_path: Path) -> dict[str, list[Path]]:
    """A log of good files, files with a bad footer and files with bad data."""
    folder = tmp_path / "log"
    whole = whole_files()["arrow-delta"]
    start = whole.index(b"u0")
    torn = whole[:start] + b"\xff" * 200 + whole[start + 200 :]
    good = write(folder, [(f"2026-01-0{day}", whole) for day in (1, 2, 3)])
    return {
        "good": good,
        "footer": write(folder, [("2026-01-04", whole[:-9]), ("2026-01-02-b", b"PAR1PAR1")]),
        "data": write(folder, [("2026-01-05", torn), ("2026-01-03-b", torn)]),
    }


def test_a_run_names_every_bad_footer_at_once(tmp_path: Path, damaged_log: dict[str, list[Path]]) -> None:
    with pytest.raises(DataError) as refused:
        open_input(config(tmp_path / "log", tmp_path / "out", "refuse"))
    assert refused.value.code == "input-unreadable"
    assert refused.value.message.startswith("2 of 7 files cannot be read")
    assert all(str(file) in refused.value.message for file in damaged_log["footer"])


def test_a_run_names_every_file_with_bad_data_at_once(tmp_path: Path, damaged_log: dict[str, list[Path]]) -> None:
    for file in damaged_log["footer"]:
        file.unlink()
    one = config(tmp_path / "log", tmp_path / "out", "refuse")
    for attempt in (lambda: prepared(one, tmp_path / "work"), lambda: counted(one, tmp_path / "cache")):
        with pytest.raises(DataError) as refused:
            attempt()
        assert refused.value.message.startswith("2 of 5 files cannot be read")
        assert all(str(file) in refused.value.message for file in damaged_log["data"])
        assert "quarantine" in refused.value.hint
    assert not (tmp_path / "out" / "_rollups" / "index.json").exists()


def counted(one: Config, cache: Path) -> object:
    return count_rows(one, open_input(one, cache=cache), AS_OF, executor=HERE, progress=None)


def test_a_quarantine_loses_no_good_file(
    tmp_path: Path, damaged_log: dict[str, list[Path]], capfd: pytest.CaptureFixture[str]
) -> None:
    one = config(tmp_path / "log", tmp_path / "out", "quarantine")
    given, run = prepared(one, tmp_path / "work")
    bad = sorted(str(file) for file in damaged_log["footer"] + damaged_log["data"])
    assert run.ingested.read == {"shop": 600 * 3}
    assert sorted(one.file for one in run.ingested.quarantined) == bad
    assert all(one.source == "shop" and one.problem for one in run.ingested.quarantined)
    told = ingest_counts(run.ingested)["quarantined"]
    assert sorted(entry["file"] for entry in told) == bad
    [warning] = quarantined_files(run.ingested.quarantined)
    assert warning.startswith("4 files of the log cannot be read")
    # A unit without a good file is left out; the others are in the store with the rest of their files.
    assert [item.unit.label for item in given.units] == ["2026-01-01", "2026-01-02", "2026-01-03"]
    clean = config(tmp_path / "clean", tmp_path / "clean-out", "refuse")
    write(tmp_path / "clean", [(file.stem, file.read_bytes()) for file in damaged_log["good"]])
    alone = prepared(clean, tmp_path / "clean-work")[1]
    assert [entry.counts for entry in run.index.entries] == [entry.counts for entry in alone.index.entries]
    assert [file.sha256 for entry in run.index.entries for file in entry.daily] == [
        file.sha256 for entry in alone.index.entries for file in entry.daily
    ]
    assert sorted(one.file for one in counted(one, tmp_path / "cache")[0].quarantined) == bad  # type: ignore[index]


def test_a_quarantine_is_remembered_until_the_file_changes(tmp_path: Path, damaged_log: dict[str, list[Path]]) -> None:
    one = config(tmp_path / "log", tmp_path / "out", "quarantine")
    first = prepared(one, tmp_path / "work")[1]
    again = prepared(one, tmp_path / "work")[1]
    assert again.rolled == (0, 0)
    assert set(again.ingested.quarantined) == set(first.ingested.quarantined)
    # Whoever refuses such files is not given what was rolled up without them.
    with pytest.raises(DataError, match="2026-01-02-b"):
        open_input(config(tmp_path / "log", tmp_path / "out", "refuse"))
    mended = damaged_log["footer"][1]
    mended.write_bytes(whole_files()["arrow-delta"])
    third = prepared(one, tmp_path / "work")[1]
    assert third.ingested.read == {"shop": 600 * 4}
    assert str(mended) not in {bad.file for bad in third.ingested.quarantined}


def test_a_source_without_a_good_file_stops_the_run(tmp_path: Path) -> None:
    write(tmp_path / "log", [("a", b""), ("b", b"PAR1PAR1")])
    with pytest.raises(DataError, match="2 of 2 files cannot be read"):
        open_input(config(tmp_path / "log", tmp_path / "out", "quarantine"))


@pytest.mark.slow
@pytest.mark.parametrize("code", ["task-died", "task-timeout", "task-memory"])
def test_a_file_that_ends_a_worker_is_named(tmp_path: Path, damaged_log: dict[str, list[Path]], code: str) -> None:
    for file in damaged_log["footer"]:
        file.unlink()
    one = config(tmp_path / "log", tmp_path / "out", "refuse")
    given = open_input(one)
    with pytest.raises(DataError, match="2026-01-05"), naming_damaged(one, given.units):
        raise ResourceError("a worker died", code=code)
    for file in damaged_log["data"]:
        file.unlink()
    given = open_input(one)
    with pytest.raises(ResourceError, match="a worker died"), naming_damaged(one, given.units):
        raise ResourceError("a worker died", code=code)


# A child that dies on names with "dies" and hangs on "hangs".
CHILD = """
import json, os, sys, time
print("ready", flush=True)
for line in sys.stdin:
    name = os.path.basename(json.loads(line)[0])
    if "dies" in name:
        os.abort()
    if "hangs" in name:
        time.sleep(60)
    print(json.dumps({"rows": 1}), flush=True)
"""


def test_a_child_that_dies_or_hangs_costs_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = tmp_path / "child.py"
    child.write_text(CHILD, encoding="utf-8")
    monkeypatch.setattr(untrusted_data, "__file__", str(child))
    monkeypatch.setattr("engine.events.untrusted.SECONDS", 0.5)
    names = ["a", "dies", "dies2", "b", "hangs", "c"]
    problems = data_problems([DataRequest(name, (), 1) for name in names])
    assert [bool(problem) for problem in problems] == [False, True, True, False, True, False]
    assert set(problems) == {"", "reading its data crashed or hung the reader"}


def check_mutants(tmp_path: Path, count: int) -> None:
    # One unit: files of one day.
    folder = tmp_path / "log" / "2026-01-01"
    files = write(folder, mutants(count))
    good = write(folder, [(f"good-{number}", whole) for number, whole in enumerate(whole_files().values())])
    one = config(tmp_path / "log", tmp_path / "out", "quarantine")
    start = time.monotonic()
    _, run = prepared(one, tmp_path / "work")
    assert time.monotonic() - start < LONGEST_SECONDS * count
    bad = {quarantined.file for quarantined in run.ingested.quarantined}
    assert bad.isdisjoint(map(str, good))
    accepted = [file for file in files if str(file) not in bad]
    rows = sum(footer.rows for footer in read_footers(accepted))
    assert run.ingested.read == {"shop": 600 * len(good) + rows}
    assert len(bad) > count / 2
    assert accepted
    with pytest.raises(DataError) as refused:
        open_input(config(tmp_path / "log", tmp_path / "other", "refuse"))
    assert refused.value.code == "input-unreadable"
    print(f"{count} mutants: {len(bad)} quarantined, {len(accepted)} read, deaths 0, hangs 0")


def test_mutants_are_quarantined_or_read(tmp_path: Path) -> None:
    check_mutants(tmp_path, 40)


@pytest.mark.slow
def test_five_hundred_mutants_are_quarantined_or_read(tmp_path: Path) -> None:
    check_mutants(tmp_path, 500)


# ------------------------------------------------------------------------------------------------ tables beside the log


@pytest.fixture
def torn(tmp_path: Path) -> tuple[Path, Path]:
    """A good table, and one whose data is damaged."""
    frame = log(600).select("user", "number").unique("user", maintain_order=True).with_columns(to=pl.col("user") + "x")
    (tmp_path / "tables").mkdir()
    good, bad = tmp_path / "tables" / "good.parquet", tmp_path / "tables" / "bad.parquet"
    encodings = {"user": "DELTA_BYTE_ARRAY", "to": "DELTA_BYTE_ARRAY"}
    pq.write_table(
        frame.to_arrow().cast(_strings()), good, compression="none", use_dictionary=False, column_encoding=encodings
    )
    content = good.read_bytes()
    bad.write_bytes(content[:40] + b"\xff" * 300 + content[340:])
    return good, bad


def _strings() -> object:
    import pyarrow as pa

    return pa.schema([("user", pa.string()), ("number", pa.int64()), ("to", pa.string())])


def test_damaged_contacts_are_named(torn: tuple[Path, Path], capfd: pytest.CaptureFixture[str]) -> None:
    contacts = Contacts(path=str(torn[0].parent), user_id="user")
    contact_schema(contacts)
    with pytest.raises(DataError) as refused:
        read_contacts(ContactsTask(contacts, None))
    assert refused.value.code == "input-unreadable"
    assert str(torn[1]) in refused.value.message
    assert str(torn[0]) not in refused.value.message


def test_a_damaged_identity_table_is_named(torn: tuple[Path, Path], capfd: pytest.CaptureFixture[str]) -> None:
    identity = Identity(path=str(torn[0].parent), anonymous_id="user", user_id="to")
    identity_files(identity, pl.String())
    with pytest.raises(DataError) as refused:
        read_identities(identity, pl.String())
    assert refused.value.code == "input-unreadable"
    assert str(torn[1]) in refused.value.message


@pytest.mark.slow
def test_bombs_as_contacts_identity_and_lists(tmp_path: Path) -> None:
    for name, (content, problem) in bombs().items():
        if not problem:
            continue
        [file] = write(tmp_path / name, [(name, content)])
        with pytest.raises(DataError, match=name):
            contact_schema(Contacts(path=str(file), user_id="user"))
        with pytest.raises(DataError, match=name):
            identity_files(Identity(path=str(file), anonymous_id="user", user_id="user"), pl.Int64())
        with pytest.raises(ConfigError, match=name) as refused:
            ids_of_file(file)
        assert refused.value.code == "users-unreadable"


def test_a_damaged_list_is_named(torn: tuple[Path, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ids = tmp_path / "ids.parquet"
    pl.read_parquet(torn[0]).select(user_id="user").write_parquet(ids, compression="uncompressed")
    content = bytearray(ids.read_bytes())
    content[4:60] = b"\xff" * 56
    ids.write_bytes(content)
    with pytest.raises(ConfigError, match=r"ids\.parquet") as refused:
        ids_of_file(ids)
    assert refused.value.code == "users-unreadable"
