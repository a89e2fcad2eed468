from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.samples import AS_OF
from tests.warehouse.readers import READERS
from tests.warehouse.sample import SEGMENTS, HandMade, frames


@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
def test_every_library_reads_the_same(sample: HandMade, read: Callable[[str, str], list[tuple[Any, ...]]]) -> None:
    written = frames(60)["segments"].select("segment", "user_id", "engagement_score").rows()
    found = read(str(sample.out), AS_OF.isoformat())
    assert sorted(found) == sorted(written)
    assert {row[0] for row in found} == set(SEGMENTS)
