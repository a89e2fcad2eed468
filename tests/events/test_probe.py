from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import polars as pl
import pytest

from engine.config import Checks, Clusters, Columns, Config, Source, Sql, Value
from engine.errors import DataError, TransientError
from engine.events import probe
from engine.events.ingest import Piece
from engine.events.probe import Footer, read_footers
from engine.execution.local import LocalExecutor
from engine.rollups.rolling import Found
from engine.rollups.units import Unit
from engine.stages.input import Input
from engine.stages.preparation import count_rows
from tests.events.logs import AS_OF, NOON

FOOTERS_IN_A_CHILD = True


def good(file: Path, rows: int = 3) -> Path:
    frame = pl.DataFrame({"u": range(rows), "t": [NOON] * rows}, schema={"u": pl.Int32, "t": pl.Datetime("us", "UTC")})
    frame.write_parquet(file)
    return file


def test_footers_in_order(tmp_path: Path) -> None:
    files = [good(tmp_path / f"{name}.parquet", rows) for name, rows in [("b", 3), ("a", 0), ("é ü", 5)]]
    footers = read_footers(files)
    assert [(footer.file, footer.rows, footer.problem) for footer in footers] == [
        (files[0], 3, ""),
        (files[1], 0, ""),
        (files[2], 5, ""),
    ]
    assert footers[0].columns == (("u", "int32"), ("t", "timestamp[us, tz=UTC]"))
    status = files[0].stat()
    assert footers[0].stamp == (status.st_size, status.st_mtime_ns)
    assert read_footers([]) == []


def test_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    whole = good(tmp_path / "whole.parquet", 10_000).read_bytes()
    footer_bytes = int.from_bytes(whole[-8:-4], "little") + 8
    cases = {
        "empty": (b"", "empty"),
        "text": (b"user,time\n1,2\n", "not a Parquet file"),
        "half": (whole[: len(whole) // 2], "truncated"),
        "one byte short": (whole[:-1], "truncated"),
        "head lost": (whole[4:], "truncated"),
        "marks only": (b"PAR1PAR1", "malformed"),
        "short": (b"PAR1", "malformed"),
        "long footer": (whole[:-8] + b"\xff\xff\xff\x7fPAR1", "malformed"),
        "body lost": (b"PAR1" + whole[-footer_bytes:], "outside the file"),
    }
    files = []
    for name, (content, _) in cases.items():
        (tmp_path / name).write_bytes(content)
        files.append(tmp_path / name)
    footers = read_footers([*files, tmp_path / "whole.parquet", tmp_path, tmp_path / "nosuch"])
    for footer, (name, (_, expected)) in zip(footers, cases.items(), strict=False):
        assert expected in footer.problem, name
    assert [footer.problem for footer in footers[len(cases) :]] == ["", "Is a directory", "No such file or directory"]


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    try:
        file = good(tmp_path / "a.parquet").rename(tmp_path / os.fsdecode(b"\xff.parquet"))
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    assert read_footers([file]) == [Footer(file, problem="its name is not UTF-8")]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    file = good(tmp_path / "secret.parquet")
    file.chmod(0)
    assert read_footers([file]) == [Footer(file, problem="Permission denied")]


def test_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> object:
        raise PermissionError(13, "Permission denied")

    file = good(tmp_path / "secret.parquet")
    monkeypatch.setattr(Path, "open", refuse)
    assert probe._probe(file) == {"problem": "Permission denied", "errno": 13}


def test_storage_that_does_not_answer_is_no_fault_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"problem": os.strerror(errno.ESTALE), "errno": errno.ESTALE}
    monkeypatch.setattr(probe, "_child_lines", lambda *_: iter([json.dumps(answer)]))
    with pytest.raises(TransientError, match=r"a\.parquet: Stale file handle") as caught:
        read_footers([tmp_path / "a.parquet"])
    assert caught.value.code == "storage-unreachable"


# A child that dies on names with "dies", hangs on "hangs", and says half a line on "stutters".
CHILD = """
import json, os, sys, time
print("ready", flush=True)
for line in sys.stdin:
    name = os.path.basename(json.loads(line))
    if "dies" in name:
        os.abort()
    if "hangs" in name:
        time.sleep(60)
    if "stutters" in name:
        print('{"rows"', end="", flush=True)
        os._exit(0)
    print(json.dumps({"rows": 1, "stamp": [2, 3], "columns": [["u", "int32"]]}), flush=True)
"""


@pytest.mark.parametrize(
    "names",
    [
        ["a", "dies", "b"],
        ["hangs"],
        ["stutters", "a"],
        ["dies", "dies2", "a", "hangs", "b", "stutters"],
    ],
)
def test_a_child_that_dies_or_hangs_costs_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]
) -> None:
    child = tmp_path / "child.py"
    child.write_text(CHILD, encoding="utf-8")
    monkeypatch.setattr(probe, "__file__", str(child))
    monkeypatch.setattr(probe, "SECONDS_PER_FILE", 0.5)
    footers = read_footers([tmp_path / name for name in names])
    assert [footer.file.name for footer in footers] == names
    for footer in footers:
        crashed = any(word in footer.file.name for word in ("dies", "hangs", "stutters"))
        assert footer.problem == ("reading its footer crashed or hung the reader" if crashed else "")
        assert footer.rows == (0 if crashed else 1)


def test_a_child_that_does_not_start_is_not_blamed_on_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "child.py").write_text("raise SystemExit(1)", encoding="utf-8")
    monkeypatch.setattr(probe, "__file__", str(tmp_path / "child.py"))
    with pytest.raises(RuntimeError, match="did not start"):
        read_footers([good(tmp_path / "a.parquet")])


def test_modules_of_the_working_directory_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("json", "selectors", "pyarrow", "inspect", "engine"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(7)", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert [footer.problem for footer in read_footers([good(tmp_path / "a.parquet")])] == [""]


def test_thousands_of_columns_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "wide.parquet"
    pl.DataFrame([pl.Series(f"c{number}", [1], dtype=pl.Int8) for number in range(10_001)]).write_parquet(file)
    [footer] = read_footers([file])
    assert footer.problem == "its footer declares 10001 columns, more than 10000"


def test_malformed_files_are_named_refused_or_read(reference_data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files = sorted(file for file in (reference_data / "bad_parquet").rglob("*") if file.is_file())
    footers = read_footers(files)
    assert [footer.file for footer in footers] == files
    assert len(files) == 145
    refusals: list[tuple[str, str]] = []
    read = 0
    for footer in footers:
        if footer.problem:
            continue
        # Every column once as the user, so that its data is decoded.
        for column in {footer.columns[0][0], footer.columns[-1][0]}:
            piece = Piece(0, str(footer.file), 0, footer.rows, footer.stamp)
            given = Input((Found(Unit(0, "", ()), "", (piece,), "String"),), {}, "String")
            executor = LocalExecutor("local", 1)
            try:
                total, _ = count_rows(one_column(footer.file, column), given, AS_OF, executor=executor, progress=None)
            except DataError as error:
                refusals.append((str(footer.file), error.message))
            else:
                assert total.read == {"log": footer.rows}
                read += 1
    assert sum(bool(footer.problem) for footer in footers) > 100
    assert len(refusals) > 40
    assert all(file in message for file, message in refusals)
    assert read > 5
    capfd.readouterr()  # Polars tells of its panics on stderr.


def one_column(file: Path, column: str) -> Config:
    columns = Columns(user_id=column, event_type=Value(value="e"), event_time=Sql(sql="DATE '2020-01-01'"))
    source = Source(name="log", path=str(file), columns=columns)
    return Config(sources=(source,), checks=Checks(max_reject_share=1), clusters=Clusters(enabled=False))
