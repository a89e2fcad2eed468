from __future__ import annotations

from pathlib import Path

from engine.rollups.index import Code, Index, read_index, write_index
from engine.rollups.update import Wanted
from engine.tables.manifest import FileRecord
from tests.rollups.stores import at, bring, config_of, label, put, source_of


def test_an_index_is_read_as_it_was_written(tmp_path: Path) -> None:
    for day in range(2):
        put(tmp_path / "log", label(day), ("u", "buy", at(day), "1"), (None,), ("u", "é", at(day)))
    index = bring(config_of(source_of(tmp_path / "log")), tmp_path / "out").index
    more = Index(
        codes=(*index.codes, Code("buy", "amount > 5")),
        entries=index.entries,
        users=index.users,
        rekeyed={"é": 2},
        links=FileRecord("links/x.parquet", 1, 2, "3"),
    )
    write_index(more, tmp_path / "more")
    assert read_index(tmp_path / "more") == more
    assert read_index(tmp_path / "out") == index
    first = (tmp_path / "more" / "index.json").read_bytes()
    write_index(read_index(tmp_path / "more"), tmp_path / "more")
    assert (tmp_path / "more" / "index.json").read_bytes() == first


def test_no_index_is_an_empty_one(tmp_path: Path) -> None:
    assert read_index(tmp_path) == Index()


def test_every_file_of_the_store_is_named(tmp_path: Path) -> None:
    put(tmp_path / "log", "all", ("u", "buy", at(0), "1"), (None,))
    wanted = Wanted((Code("buy"),), ("buy",))
    index = bring(config_of(source_of(tmp_path / "log")), tmp_path / "out", wanted).index
    [entry] = index.entries
    assert index.by_name() == {("log", ""): entry}
    assert sorted(file.path.partition("/")[0] for file in index.files()) == [
        "daily",
        "events",
        "ids",
        "rejects",
        "users",
    ]
