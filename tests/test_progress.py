from __future__ import annotations

from engine.progress import ProgressEvent, track


def test_track_counts_from_zero_to_all() -> None:
    seen: list[ProgressEvent] = []
    on_done = track(seen.append, "score", 2)
    assert on_done is not None
    on_done("a")
    on_done("b")
    assert seen == [ProgressEvent("score", done, 2) for done in (0, 1, 2)]


def test_nobody_listens() -> None:
    assert track(None, "score", 2) is None
