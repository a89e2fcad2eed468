from __future__ import annotations

from engine.progress import ProgressEvent, Tally, track


def test_track_counts_from_zero_to_all() -> None:
    seen: list[ProgressEvent] = []
    on_done = track(seen.append, "score", 2)
    assert on_done is not None
    on_done("a")
    on_done("b")
    assert seen == [ProgressEvent("score", done, 2) for done in (0, 1, 2)]


def test_nobody_listens() -> None:
    assert track(None, "score", 2) is None


def test_track_tells_what_the_executor_has_done_since() -> None:
    seen: list[ProgressEvent] = []
    tally = Tally(rows=100, bytes=1_000, retried=3)
    on_done = track(seen.append, "score", 2, tally)
    assert on_done is not None
    tally.rows, tally.retried = 150, 4
    on_done("a")
    tally.rows, tally.bytes, tally.spilled = 170, 1_500, 9
    on_done("b")
    assert seen == [
        ProgressEvent("score", 0, 2),
        ProgressEvent("score", 1, 2, rows=50, retried=1),
        ProgressEvent("score", 2, 2, rows=70, bytes=500, retried=1, spilled=9),
    ]
