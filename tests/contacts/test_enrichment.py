from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.config_contacts import Cleaning, Enrichment
from engine.contacts.enrichment import EnrichmentRecord, enrich, enrichment_schema, may_add
from engine.contacts.side_table import FileMark
from engine.errors import ConfigError, DataError
from tests.events.logs import write

KNOWN = {"zip": pl.String(), "age": pl.Int64(), "mail": pl.String(), "score": pl.Float64()}
ROWS = pl.DataFrame(
    {"user_id": ["a", "b", "c"], "zip": ["01000", "75001", None], "age": [1, 2, 2], "mail": ["x@a.fr", "y@a.fr", None]}
)


def geo(path: Path, **fields: Any) -> Enrichment:
    return Enrichment(**{"name": "geo", "path": str(path), "key": "cp", "on": "zip", **fields})


def text(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


def mark(file: Path) -> FileMark:
    content = file.read_bytes()
    return FileMark(str(file), hashlib.sha256(content).hexdigest(), len(content))


def test_dq11_columns_of_another_table_and_where_they_come_from(tmp_path: Path) -> None:
    file = text(tmp_path / "geo.csv", "cp,town,people\n01000,Bourg,41000\n13001,Marseille,\n,nowhere,1\n")
    enrichment = geo(file, prefix="geo_")
    assert enrichment_schema(enrichment, KNOWN) == ({"geo_town": pl.String, "geo_people": pl.Int64}, [])
    rows, record = enrich(ROWS, enrichment, Cleaning())
    assert rows.columns == [*ROWS.columns, "geo_town", "geo_people"]
    assert rows["geo_town"].to_list() == ["Bourg", None, None]
    assert rows["geo_people"].to_list() == [41000, None, None]
    assert record == EnrichmentRecord("geo", (mark(file),), rows=3, left_out=1, matched=1, unmatched=1)


def test_files_of_text_have_one_type_per_column(tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    text(tmp_path / "t" / "1.csv", "cp,x,y\n75001,1,2\n")
    text(tmp_path / "t" / "2.csv", "y,cp,x\na,01000,1.5\n")
    enrichment = geo(tmp_path / "t")
    assert enrichment_schema(enrichment, KNOWN)[0] == {"x": pl.Float64, "y": pl.String}
    rows, record = enrich(ROWS, enrichment, Cleaning())
    assert rows.select("x", "y").rows() == [(1.5, "a"), (1.0, "2"), (None, None)]
    assert record.files == (mark(tmp_path / "t" / "1.csv"), mark(tmp_path / "t" / "2.csv"))


@pytest.mark.parametrize("on", ["user_id", "age", "zip"])
def test_a_key_of_any_type(on: str, tmp_path: Path) -> None:
    keys: dict[str, pl.Series] = {
        "user_id": pl.Series(["b", "z"], dtype=pl.Categorical),
        "age": pl.Series([2, 9], dtype=pl.UInt16),
        "zip": pl.Series([75001, 13001]),
    }
    file = write(pl.DataFrame({"cp": keys[on], "e": ["e\u0301", "x"]}), tmp_path / "t.parquet")
    rows, _ = enrich(ROWS, geo(file, on=on), Cleaning())
    assert rows["e"].to_list() == [None, "é", "é" if on == "age" else None]


def test_a_key_that_is_matched_with_a_cleaned_attribute(tmp_path: Path) -> None:
    file = write(pl.DataFrame({"cp": [" x@A.fr", "z@a.fr"], "e": [1, 2]}), tmp_path / "t.parquet")
    cleaning = Cleaning(email="mail")
    assert enrich(ROWS, geo(file, on="mail"), cleaning)[0]["e"].to_list() == [1, None, None]
    twice = write(pl.DataFrame({"cp": [" x@A.fr", "x@a.FR"], "e": [1, 2]}), tmp_path / "t.parquet")
    with pytest.raises(DataError) as caught:
        enrich(ROWS, geo(twice, on="mail"), cleaning)
    assert caught.value.code == "enrichment-repeated"
    assert caught.value.message == "enrichment 'geo': 1 of 2 rows repeat a key; expected one per 'cp'"


def test_one_file_that_repeats_a_key_of_another(tmp_path: Path) -> None:
    for name in "ab":
        write(pl.DataFrame({"cp": ["01000"], "e": [1]}), tmp_path / "t" / f"{name}.parquet")
    with pytest.raises(DataError, match="1 of 2 rows repeat a key"):
        enrich(ROWS, geo(tmp_path / "t"), Cleaning())


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"key": "cpp"}, "  enrichment 'geo': no column 'cpp' in all its files (did you mean 'cp'?)"),
        ({"columns": ("twon",)}, "  enrichment 'geo': no column 'twon' in all its files (did you mean 'town'?)"),
        ({"on": "zipp"}, "  enrichment 'geo': on: no column 'zipp' (did you mean 'zip'?)"),
        ({"on": "score"}, "  enrichment 'geo': on: expected text or whole numbers in 'score', got Float64"),
        ({"key": "half"}, "  enrichment 'geo': expected text or whole numbers in its key 'half', got Float64"),
    ],
)
def test_columns_that_do_not_fit(fields: dict[str, Any], problem: str, tmp_path: Path) -> None:
    file = write(pl.DataFrame({"cp": ["1"], "town": ["a"], "half": [0.5]}), tmp_path / "t.parquet")
    _, problems = enrichment_schema(geo(file, **fields), KNOWN)
    assert problems[0] == problem


def test_files_of_other_types(tmp_path: Path) -> None:
    write(pl.DataFrame({"cp": ["1"], "x": [1]}), tmp_path / "t" / "1.parquet")
    write(pl.DataFrame({"cp": ["2"], "x": ["1"]}), tmp_path / "t" / "2.parquet")
    _, problems = enrichment_schema(geo(tmp_path / "t"), KNOWN)
    folder = tmp_path / "t"
    assert problems == [f"  enrichment 'geo': 'x' is String in {folder}/2.parquet, Int64 in {folder}/1.parquet"]


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("t.csv", "cp,x\n1\n", "input-unreadable"),
        ("t.csv", "", "input-unreadable"),
        ("t.jsonl", '{"cp": 1}', "input-unreadable"),
        ("t.parquet", "PAR1", "input-unreadable"),
    ],
)
def test_files_that_cannot_be_read(name: str, content: str, code: str, tmp_path: Path) -> None:
    file = text(tmp_path / name, content)
    with pytest.raises(DataError) as caught:
        enrichment_schema(geo(file), KNOWN)
    assert caught.value.code == code
    with pytest.raises(ConfigError, match="matches"):
        enrichment_schema(geo(tmp_path / "none.csv"), KNOWN)


def test_which_attributes_may_be_added(tmp_path: Path) -> None:
    named, open_ended = geo(tmp_path, columns=("town",), prefix="geo_"), geo(tmp_path, prefix="geo_")
    assert [may_add((named,), name) for name in ("geo_town", "geo_x", "town")] == [True, False, False]
    assert [may_add((open_ended,), name) for name in ("geo_town", "geo_x", "town")] == [True, True, False]
