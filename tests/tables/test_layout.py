from __future__ import annotations

import unicodedata
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ConfigError
from engine.tables import layout

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
NAMES = [
    "loyal",
    "007",
    "lost / gone",
    "Île-de-France",
    "50% off + more",
    "a=b&c#d?e",
    "..",
    ".hidden",
    "'quoted' \"twice\"",
    "back\\slash",
    "new\nline\ttab",
    "日本語",
    "😀 smile",
    "null",
    "%2F",
    "a*b[c]{d}",
    " spaces ",
    "true",
    "2018-01-01",
]


@pytest.mark.parametrize(
    ("value", "component"),
    [
        ("loyal_30d-v1.2", "loyal_30d-v1.2"),
        ("a b/c", "a%20b%2Fc"),
        ("é", "%C3%A9"),
        ("e\u0301", "%C3%A9"),
        ("..", "%2E."),
        (".", "%2E"),
        (".x", "%2Ex"),
        ("a.b", "a.b"),
        ("%", "%25"),
    ],
)
def test_encode_partition(value: str, component: str) -> None:
    assert layout.encode_partition(value) == component


@given(TEXT)
def test_any_text_comes_back_as_nfc_and_stays_inside(value: str) -> None:
    component = layout.encode_partition(value)
    assert layout.decode_partition(component) == unicodedata.normalize("NFC", value)
    assert component.isascii()
    assert not component.startswith(".")
    assert not set(component) & set("/\\\0")
    root = Path("/root/table")
    if len(component) > 255 - len("segment="):
        with pytest.raises(ConfigError):
            layout.partition_folder(root, "segment", value)
    else:
        folder = layout.partition_folder(root, "segment", value)
        assert folder.parent == root
        assert folder.resolve().is_relative_to(root)


@given(TEXT, TEXT)
def test_different_names_have_different_folders(first: str, second: str) -> None:
    components = {layout.encode_partition(value) for value in (first, second)}
    names = {unicodedata.normalize("NFC", value) for value in (first, second)}
    assert len(components) == len(names)


@pytest.mark.parametrize("value", ["", "a\0b", "\ud800", "__HIVE_DEFAULT_PARTITION__"])
def test_values_that_are_no_name(value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        layout.encode_partition(value)
    assert caught.value.code == "partition-name"
    assert caught.value.hint


@pytest.mark.parametrize(
    ("value", "fits"), [("a" * 247, True), ("a" * 248, False), ("é" * 41, True), ("é" * 42, False)]
)
def test_folder_names_fit_a_component(tmp_path: Path, value: str, fits: bool) -> None:
    if fits:
        layout.partition_folder(tmp_path, "segment", value).mkdir()
    else:
        with pytest.raises(ConfigError) as caught:
            layout.partition_folder(tmp_path, "segment", value)
        assert caught.value.code == "partition-too-long"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("readers")
    for number, name in enumerate(NAMES):
        folder = layout.partition_folder(layout.table_folder(root, "segments", date(2018, 1, 1)), "segment", name)
        folder.mkdir(parents=True)
        pl.DataFrame({"user_id": [number]}).write_parquet(folder / "part-0.parquet")
    return root / "segments"


def read_polars(root: Path) -> list[tuple[int, str]]:
    schema = {"as_of": pl.Date, "segment": pl.String}
    return pl.read_parquet(root, hive_schema=schema).select("user_id", "segment").rows()


def read_duckdb(root: Path) -> list[tuple[int, str]]:
    import duckdb

    types = "{'as_of': DATE, 'segment': VARCHAR}"
    query = f"select user_id, segment from read_parquet(?, hive_partitioning = true, hive_types = {types})"
    return duckdb.execute(query, [f"{root}/**/*.parquet"]).fetchall()


def read_arrow(root: Path) -> list[tuple[int, str]]:
    import pyarrow as pa
    import pyarrow.dataset as ds

    keys = ds.partitioning(pa.schema([("as_of", pa.date32()), ("segment", pa.string())]), flavor="hive")
    table = ds.dataset(root, partitioning=keys).to_table(columns=["user_id", "segment"])
    return [(row["user_id"], row["segment"]) for row in table.to_pylist()]


@pytest.mark.parametrize("read", [read_polars, read_duckdb, read_arrow])
def test_readers_give_the_names_back(published: Path, read: object) -> None:
    assert sorted(read(published)) == list(enumerate(NAMES))


@pytest.mark.parametrize("run_id", ["", ".", "..", "a/b", ".hidden", "a b", "x" * 201])
def test_run_ids_are_plain_names(tmp_path: Path, run_id: str) -> None:
    with pytest.raises(ValueError, match="run_id"):
        layout.work_folder(tmp_path, run_id)


def test_nothing_but_tables_lies_where_a_table_is_scanned(tmp_path: Path) -> None:
    day = date(2018, 1, 1)
    others = [
        layout.manifest_path(tmp_path, day),
        layout.bundles_folder(tmp_path),
        layout.work_folder(tmp_path, "r1"),
    ]
    for table in layout.TABLES:
        folder = layout.table_folder(tmp_path, table, day)
        assert folder == tmp_path / table / "as_of=2018-01-01"
        assert not [path for path in others if path.is_relative_to(folder.parent)]
    with pytest.raises(ValueError, match="one of"):
        layout.table_folder(tmp_path, "../x", day)
