from __future__ import annotations

from datetime import date

import pytest

from engine.config_schedule import Schedule
from engine.errors import ConfigError, TransientError
from engine.schedule.markers import missing_markers
from tests.remote.conftest import Bucket
from tests.remote.proxy import Fault

AS_OF = date(2026, 3, 1)


def test_a_marker_in_an_object_store(bucket: Bucket) -> None:
    schedule = Schedule(marker=f"{bucket.url}/log/{{day:%Y/%m/%d}}/_SUCCESS")
    expected = f"{bucket.url}/log/2026/02/28/_SUCCESS"
    bucket.put("log/2026/02/28/part.parquet", b"x")
    bucket.put("log/2026/02/28/_SUCCESS.crc", b"x")
    assert missing_markers(schedule, AS_OF) == (expected,)
    bucket.put("log/2026/02/28/_SUCCESS", b"")
    assert missing_markers(schedule, AS_OF) == ()


def test_a_store_that_is_not_there_is_no_missing_marker(bucket: Bucket) -> None:
    with pytest.raises(ConfigError):
        missing_markers(Schedule(marker="s3://no-such-bucket-anywhere/{day}"), AS_OF)
    bucket.proxy.faults.append(Fault("503", r""))
    with pytest.raises(TransientError):
        missing_markers(Schedule(marker=f"{bucket.url}/{{day}}"), AS_OF)
