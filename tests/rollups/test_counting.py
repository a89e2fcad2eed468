from __future__ import annotations

from pathlib import Path

from engine.config import Exclude
from engine.events.ingest import Piece
from engine.rollups.counting import CountTask, count
from engine.rollups.index import DayCount
from engine.rollups.totals import ingested
from tests.rollups.stores import DAY_ZERO, at, bring, config_of, label, put, source_of, totals


def test_rows_are_counted_without_writing(tmp_path: Path) -> None:
    given = [
        ("u", "buy", at(0), "1", 0.0),
        ("u", "buy", at(0), "1", 2.0),
        ("u", "rest", at(1)),
        (None,),
        ("x", "buy", at(0)),
    ]
    first = put(tmp_path / "shop", "a", *given)
    second = put(tmp_path / "mail", "b", ("v", "buy", at(60)), ("v", "buy", at(0), "9", None))
    config = config_of(
        source_of(tmp_path / "shop", "shop", where="id IS NULL OR id <> '7'"),
        source_of(tmp_path / "mail", "mail"),
        exclude=Exclude(user_ids=("x",)),
    )
    pieces = (Piece(0, str(first), 0, 2), Piece(0, str(first), 2, 3), Piece(1, str(second), 0, 2))
    shop, mail = count(CountTask(config, pieces, ("buy",)))
    assert (shop.source, shop.read, shop.excluded, shop.left_out) == ("shop", 5, 1, 0)
    assert shop.rejected == {"user_id_missing": 1}
    assert shop.examples == ((str(first), 3, "user_id_missing"),)
    # Whether an event is there twice is not looked at.
    assert shop.counts == (
        DayCount("buy", DAY_ZERO, 2, 2, 0, 0, 2, 1),
        DayCount("rest", DAY_ZERO + 1, 1),
    )
    assert [(entry.event_type, entry.rows, entry.priced) for entry in mail.counts] == [("buy", 1, 0), ("buy", 1, 0)]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mail", "shop"]


def test_without_repeats_the_counts_are_those_of_an_update(tmp_path: Path) -> None:
    for day in range(3):
        put(
            tmp_path / "log", label(day), ("u", "buy", at(day), f"{day}", 1.0), ("", "buy"), ("u", "rest", at(day + 40))
        )
    config = config_of(source_of(tmp_path / "log"))
    files = sorted((tmp_path / "log").iterdir())
    entries = [entry for file in files for entry in count(CountTask(config, (Piece(0, str(file), 0, 3),), ("buy",)))]
    updated = bring(config, tmp_path / "out")
    assert ingested(entries, DAY_ZERO + 31, ("buy",)) == totals(updated)
