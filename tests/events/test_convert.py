from __future__ import annotations

import gzip
import json
import os
import random
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.config import Csv, Source
from engine.errors import DataError, IntegrityError, ResourceError
from engine.events import csv_text, json_lines
from engine.events.convert import convert_files
from engine.events.files import find_files, hive_values
from engine.events.read import ROW, scan, source_mapping
from tests.events.logs import source as source_of

CSV = "user,time,amount,coupon\n007,2026-01-01 10:00:00,1.50,\n12,2026-01-02 11:30:00,2,X\n"


def source(folder: Path, **csv: Any) -> Source:
    return source_of(folder, name="shop é", csv=Csv(**csv))


def converted(folder: Path, texts: Mapping[str, str | bytes], **csv: Any) -> dict[str, pl.DataFrame]:
    """Write files, convert them, and read the results, by the names of the files."""
    (folder / "log").mkdir(exist_ok=True)
    for name, text in texts.items():
        data = text.encode() if isinstance(text, str) else text
        target = folder / "log" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    asked = source(folder / "log", **csv)
    files = find_files(asked.name, asked.path, text=True)
    done = convert_files(files, asked, folder / "cache")
    return {
        str(file.relative_to(folder / "log")): pl.read_parquet(parquet, hive_partitioning=False)
        for file, parquet in zip(files, done, strict=True)
    }


def refusal(folder: Path, texts: Mapping[str, str | bytes], **csv: Any) -> str:
    with pytest.raises(DataError) as caught:
        converted(folder, texts, **csv)
    assert caught.value.code == "input-unreadable"
    left = [file for file in (folder / "cache").rglob("*") if file.is_file()] if (folder / "cache").exists() else []
    assert left == []
    return caught.value.message.replace(str(folder / "log") + "/", "")


# --- CSV


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "A.CSV"])
def test_dq02_csv(tmp_path: Path, name: str) -> None:
    done = converted(tmp_path, {name: CSV})[name]
    assert done.schema == {"user": pl.String, "time": pl.Datetime("us"), "amount": pl.Float64, "coupon": pl.String}
    assert done.rows() == [
        ("007", datetime(2026, 1, 1, 10), 1.5, None),
        ("12", datetime(2026, 1, 2, 11, 30), 2.0, "X"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "settings_", "rows"),
    [
        ("a.tsv", "a\tb,c\n1\t2,5\n", {}, [(1, "2,5")]),
        ("a.csv", "a;b\n1;2,5\n", {"delimiter": ";", "decimal_comma": True}, [(1, 2.5)]),
        ("a.csv", "a,b\nNA,-\n1,x\n", {"null_values": ("NA", "-")}, [(None, None), (1, "x")]),
        ("a.csv", 'a,b\n"",""\n1,"x"\n', {}, [(None, None), (1, "x")]),
        ("a.csv", "a,b\n1,\n", {"null_values": ()}, [(1, "")]),
        ("a.csv", '\ufeffa,b\r\n1,"x\r\ny ""z"""\r\n\r\n2,é\r\n', {}, [(1, 'x\r\ny "z"'), (2, "é")]),
        ("a.csv", "a,b\n1,2", {}, [(1, 2)]),
        ("a.csv", "a,b\n", {}, []),
    ],
)
def test_how_csv_is_written(
    tmp_path: Path, name: str, text: str, settings_: dict[str, Any], rows: list[tuple[object, ...]]
) -> None:
    assert converted(tmp_path, {name: text}, **settings_)[name].rows() == rows


@pytest.mark.parametrize("delimiter", ["", "ab", '"', "\n", "é"])
def test_delimiters_that_are_none(delimiter: str) -> None:
    with pytest.raises(ValidationError, match="expected one character such as"):
        Csv(delimiter=delimiter)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a,b\n1,2\n\n3\n", "line 4: expected 2 values, as the header has, got 1"),
        ("a,b\n1,2\n1,2,secret\n", "line 3: expected 2 values, as the header has, got 3"),
        ('a,b\n1,"x\ny"\n3\n', "line 4: expected 2 values, as the header has, got 1"),
        (b"a,b\n1,2\n1,\xff\n", "line 3: not UTF-8 (byte 0xff)"),
        ("a,b\n".encode("utf-16"), "line 1: not UTF-8 (byte 0xff)"),
        ("a,b,a\n1,2,3\n", "line 1: the header names 'a' more than once"),
        ("", "line 1: expected a header that names the columns, got an empty file"),
        ('a,b\n1,2\n3,"x\n4,y\n5,z\n', "line 3: a quote that is not closed, or text behind a closed one"),
    ],
)
def test_csv_that_cannot_be_read(tmp_path: Path, text: str | bytes, problem: str) -> None:
    said = refusal(tmp_path, {"a.csv": text})
    assert said == f"1 of 1 files cannot be read\n  source 'shop é': a.csv: {problem}"


@pytest.mark.parametrize("text", ["a,b\n" + "1,2\n" * 2000, "".join(f'{{"a": {n}}}\n' for n in range(2000))])
def test_compressed_data_that_is_cut_off(tmp_path: Path, text: str) -> None:
    name = "a.csv.gz" if text.startswith("a") else "a.jsonl.gz"
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / name).write_bytes(gzip.compress(text.encode())[:-20])
    assert refusal(tmp_path, {}).endswith(f"{name}: its compressed data is damaged or cut off")
    (tmp_path / "log" / name).write_bytes(text.encode())
    assert refusal(tmp_path, {}).endswith(f"{name}: its compressed data is damaged or cut off")


# --- JSON lines


def test_dq02_json_lines(tmp_path: Path) -> None:
    lines = [
        {"id": "007", "at": "2026-01-01T10:00:00Z", "n": 1, "tags": ["x"], "deep": {"a": None, "b": 1}},
        {"id": "8", "at": None, "n": 2.5, "tags": "y", "deep": {}, "more": True},
    ]
    text = "\ufeff" + json.dumps(lines[0]) + "\r\n\n" + json.dumps(lines[1])
    done = converted(tmp_path, {"a.jsonl": text})["a.jsonl"]
    assert done.rows() == [
        ("007", datetime(2026, 1, 1, 10, tzinfo=UTC), 1.0, '["x"]', {"b": 1}, None),
        ("8", None, 2.5, "y", {"b": None}, True),
    ]
    assert done.columns == ["id", "at", "n", "tags", "deep", "more"]


@pytest.mark.parametrize("ending", ["jsonl", "ndjson", "jsonl.gz"])
def test_json_values(tmp_path: Path, ending: str) -> None:
    values = [1, "1", None, 12345678901234567890123, True, [1, {"a": 1}], {"a": [1]}]
    name = f"a.{ending}"
    done = converted(tmp_path, {name: "\n".join(json.dumps({"x": value, "y": None}) for value in values)})[name]
    assert done["x"].to_list()[:5] == ["1", "1", None, "12345678901234567890123", "true"]
    assert [json.loads(text) for text in done["x"].to_list()[5:]] == [[1, {"a": 1}], {"a": [1]}]
    assert done.schema["y"] == pl.Null
    assert done.height == len(values)


def test_objects_without_a_value_are_rows(tmp_path: Path) -> None:
    done = converted(tmp_path, {"a.jsonl": '{"x": null}\n{"x": {}}\n{}\n', "b.jsonl": "", "c.jsonl": "\n \n"})
    assert {name: (frame.columns, frame.height) for name, frame in done.items()} == {
        "a.jsonl": (["x"], 3),
        "b.jsonl": (["x"], 0),
        "c.jsonl": (["x"], 0),
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": 1}\n\n{"a":\n', "line 3: not JSON (Expecting value)"),
        ('{"a": 1}\n[1]\n', "line 2: expected a JSON object"),
        ('{"a": 1}\n{"a": NaN}\n', "line 2: cannot be read as a JSON object"),
        ('{"a": 1} {"a": 2}\n', "line 1: not JSON (Extra data)"),
        (b'{"a": 1}\n{"a": "\xe9"}\n', "line 2: not UTF-8 (byte 0xe9)"),
    ],
)
def test_json_that_cannot_be_read(tmp_path: Path, text: str | bytes, problem: str) -> None:
    said = refusal(tmp_path, {"a.jsonl": text})
    assert said == f"1 of 1 files cannot be read\n  source 'shop é': a.jsonl: {problem}"


def test_lines_are_counted_over_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "CHUNK_BYTES", 64)
    lines = [json.dumps({"n": n, "text": "x" * (n % 90)}) for n in range(200)]
    done = converted(tmp_path, {"a.jsonl": "\n".join(lines)})["a.jsonl"]
    assert done["n"].to_list() == list(range(200))
    lines[150] = "{"
    (tmp_path / "other").mkdir()
    said = refusal(tmp_path / "other", {"a.jsonl": "\n".join(lines)})
    assert said.endswith("a.jsonl: line 151: not JSON (Expecting property name enclosed in double quotes)")


def test_values_without_a_type_in_common(tmp_path: Path) -> None:
    text = '{"x": 0}\n{"x": false}\n\n{"x": [1]}\n{"x": {"a": 1}}\n{"x": 1.5}'
    assert converted(tmp_path, {"a.jsonl": text})["a.jsonl"]["x"].to_list() == ["0", "false", "[1]", '{"a": 1}', "1.5"]


@given(data=st.data())
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_chunks_of_any_size_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: st.DataObject) -> None:
    values = st.one_of(
        st.none(), st.integers(-9, 9), st.floats(0, 1, width=16), st.booleans(), st.text("aé0", max_size=3)
    )
    objects = data.draw(st.lists(st.dictionaries(st.sampled_from("abc"), values), min_size=1, max_size=12))
    file = tmp_path / "a.jsonl"
    file.write_text("\n".join(map(json.dumps, objects)), encoding="utf-8")
    asked = source(tmp_path)
    results = []
    for size in (10_000, data.draw(st.integers(1, 60))):
        monkeypatch.setattr(json_lines, "CHUNK_BYTES", size)
        [done] = convert_files([file], asked, tmp_path / f"cache-{len(results)}")
        results.append(pl.read_parquet(done))
        done.unlink()
    assert results[0].to_dict(as_series=False) == results[1].select(results[0].columns).to_dict(as_series=False)


# --- several files


def test_all_files_of_a_source_have_one_type_per_column(tmp_path: Path) -> None:
    texts = {
        "1.csv": "u,t,a\n1,2026-01-01,\n",
        "2.csv": "u,t,a,new\nA7,2026-01-01 10:00,1.5,x\n",
        "3.csv": "u,t,a\n02,,7\n",
    }
    done = converted(tmp_path, texts)
    assert {name: frame.rows() for name, frame in done.items()} == {
        "1.csv": [("1", datetime(2026, 1, 1), None)],
        "2.csv": [("A7", datetime(2026, 1, 1, 10), 1.5, "x")],
        "3.csv": [("02", None, 7.0)],
    }
    assert {frame.schema["a"] for frame in done.values()} == {pl.Float64()}


def test_json_keys_of_all_files(tmp_path: Path) -> None:
    done = converted(tmp_path, {"1.jsonl": '{"a": 1}', "2.jsonl": '{"b": "x", "a": "007"}', "3.jsonl": '{"c": null}'})
    assert {name: frame.rows() for name, frame in done.items()} == {
        "1.jsonl": [("1", None, None)],
        "2.jsonl": [("007", "x", None)],
        "3.jsonl": [(None, None, None)],
    }


def test_all_bad_files_are_named_at_once(tmp_path: Path) -> None:
    said = refusal(tmp_path, {"1.csv": "a\n1\n", "2.csv": "a,b\n1\n", "3.csv": ""})
    assert said.splitlines() == [
        "2 of 3 files cannot be read",
        "  source 'shop é': 2.csv: line 2: expected 2 values, as the header has, got 1",
        "  source 'shop é': 3.csv: line 1: expected a header that names the columns, got an empty file",
    ]


def test_hive_folders_and_rows_are_kept(tmp_path: Path) -> None:
    text = "user,type\n" + "".join(f"{n},t{n}\n" for n in range(50))
    converted(tmp_path, {"day=2026-01-01/x.csv": text})
    asked = source(tmp_path / "log")
    [file] = convert_files(find_files("x", asked.path, text=True), asked, tmp_path / "cache")
    assert hive_values(file)["day"] == "2026-01-01"
    done = scan(str(file)).collect()
    assert done.select(ROW, "user", "type", "day").rows() == [(n, n, f"t{n}", "2026-01-01") for n in range(50)]


def test_parquet_files_stand_for_themselves(tmp_path: Path) -> None:
    files = [tmp_path / "a.parquet", tmp_path / "data.v1"]
    assert convert_files(files, source(tmp_path), tmp_path / "cache") == files
    assert not (tmp_path / "cache").exists()


# --- the cache


def cached(folder: Path) -> dict[Path, int]:
    return {file: file.stat().st_ino for file in sorted((folder / "cache").rglob("*")) if file.is_file()}


def test_a_file_is_converted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    converted(tmp_path, {"a.csv": CSV, "b.csv": CSV})
    before = cached(tmp_path)
    monkeypatch.setattr(csv_text, "read_blocks", None)
    converted(tmp_path, {})
    assert cached(tmp_path) == before
    assert len(before) == 2


def test_a_changed_file_a_new_type_and_other_settings_are_converted_anew(tmp_path: Path) -> None:
    converted(tmp_path, {"a.csv": "u\n1\n", "b.csv": "u\n2\n"})
    first = cached(tmp_path)
    assert converted(tmp_path, {"b.csv": "u\n3\n"})["b.csv"].rows() == [(3,)]
    second = cached(tmp_path)
    assert len(second) == 2
    assert len(first.items() & second.items()) == 1
    done = converted(tmp_path, {"c.csv": "u\n007\n"})
    assert [frame["u"].to_list() for frame in done.values()] == [["1"], ["3"], ["007"]]
    third = cached(tmp_path)
    assert len(third) == 3
    assert not second.keys() & third.keys()
    assert [frame["u"].to_list() for frame in converted(tmp_path, {}, null_values=("3",)).values()][1] == [None]
    assert not third.keys() & cached(tmp_path).keys()


def test_a_conversion_done_again_is_the_same_file(tmp_path: Path) -> None:
    converted(tmp_path, {"a.csv": CSV})
    [file] = cached(tmp_path)
    before = (file.read_bytes(), file.stat().st_mtime_ns)
    assert before[1] == (tmp_path / "log" / "a.csv").stat().st_mtime_ns
    file.unlink()
    converted(tmp_path, {})
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before


def test_what_is_left_behind_is_swept(tmp_path: Path) -> None:
    converted(tmp_path, {"a.csv": CSV, "b.csv": CSV})
    keep, gone = cached(tmp_path)
    gone.with_name(".b.parquet.0123.tmp").touch()
    keep.with_name("stranger.parquet").write_bytes(b"PAR1")
    (tmp_path / "log" / "b.csv").unlink()
    converted(tmp_path, {})
    assert list(cached(tmp_path)) == [keep]


@pytest.mark.parametrize("damage", [b"", b"PAR1 and not a footer PAR1"])
def test_a_damaged_conversion_is_written_again(tmp_path: Path, damage: bytes) -> None:
    before = converted(tmp_path, {"a.csv": CSV})["a.csv"]
    [file] = cached(tmp_path)
    file.write_bytes(damage)
    assert converted(tmp_path, {})["a.csv"].equals(before)


@pytest.mark.parametrize("moment", ["while its types are found", "while it is converted"])
def test_a_file_that_changes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    read = csv_text.read_blocks
    times = iter([moment == "while its types are found", True])

    def meddled(file: Path, asked: Csv) -> Any:
        yield from read(file, asked)
        if next(times):
            file.write_text(CSV.replace("007", "008"))
            os.utime(file, ns=(1, 1))

    monkeypatch.setattr(csv_text, "read_blocks", meddled)
    with pytest.raises(IntegrityError) as caught:
        converted(tmp_path, {"a.csv": CSV})
    assert caught.value.code == "input-changed"
    assert cached(tmp_path) == {}


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("engine.tables.effects.os.fsync", full)
    with pytest.raises(ResourceError) as caught:
        converted(tmp_path, {"a.csv": CSV})
    assert caught.value.code == "disk-full"
    assert cached(tmp_path) == {}


def test_memory_is_that_of_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_text, "BLOCK_BYTES", 5_000)
    rng = random.Random(1)
    rows = [(n, round(rng.random(), 3), date(2026, 1, 1 + n % 28).isoformat()) for n in range(3_000)]
    text = "n,x,d\n" + "".join(f"{n},{x},{d}\n" for n, x, d in rows)
    done = converted(tmp_path, {"a.csv": text})["a.csv"]
    assert done.rows() == [(n, x, date.fromisoformat(d)) for n, x, d in rows]
    (tmp_path / "log" / "a.csv").touch()
    sizes = [block.height for block in csv_text.read_blocks(tmp_path / "log" / "a.csv", Csv())]
    assert max(sizes) < 500


def test_a_converted_file_is_mapped_like_any_other(tmp_path: Path) -> None:
    converted(tmp_path, {"a.csv": "user,type,time\n007,buy,2026-01-01 10:00\n,buy,2026-01-01 10:00\n"})
    asked = source(tmp_path / "log")
    [file] = convert_files(find_files("x", asked.path, text=True), asked, tmp_path / "cache")
    mapping = source_mapping(asked, scan(str(file)), 2)
    done = scan(str(file)).select(pl.col(ROW), mapping.canonical["user_id"].alias("u"), mapping.reject.alias("r"))
    assert done.collect().rows() == [(0, "007", 0), (1, None, 1)]
