from __future__ import annotations

from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from engine.doctor import clock
from engine.doctor.clock import check_clock, check_encoding, check_time_zones
from engine.errors import ExitCode


@pytest.mark.parametrize("zone", ["UTC", "Europe/Paris", "Asia/Kolkata", "America/Sao_Paulo", "Pacific/Kiritimati"])
def test_zones_that_are_the_same_everywhere(subject: Callable[..., Any], config: Callable[..., Any], zone: str) -> None:
    [finding] = check_time_zones(subject(config(timezone=zone)))
    assert finding.status == "ok", finding


def test_zones_that_differ(
    subject: Callable[..., Any], config: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the system would say if its database knew of another law.
    monkeypatch.setattr(clock, "ZoneInfo", lambda name: ZoneInfo("Africa/Tunis"))
    [finding] = check_time_zones(subject(config(timezone="Europe/Paris")))
    assert finding.status == "warning"
    # The day after the last Sunday of March.
    assert "differ from 2020-03-30 on" in finding.said


def test_a_zone_that_is_not_known(subject: Callable[..., Any], config: Callable[..., Any]) -> None:
    asked = config().model_copy(update={"timezone": "Europe/Nowhere"})
    [finding] = check_time_zones(subject(asked))
    assert (finding.status, finding.exit_code) == ("failed", ExitCode.USAGE)


@pytest.mark.parametrize(
    ("skew", "status"), [(-0.01, "ok"), (1.9, "ok"), (-2.5, "warning"), (400.0, "failed"), (-400.0, "failed")]
)
def test_the_clock_of_the_file_system(skew: float, status: str) -> None:
    assert check_clock(skew).status == status


def test_a_clock_before_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock.time, "time", lambda: 86_400.0 * 365)
    finding = check_clock(0.0)
    assert finding.status == "failed"
    assert "1971-01-01" in finding.said


@pytest.mark.parametrize(
    ("files", "texts", "status"),
    [("utf-8", "UTF-8", "ok"), ("utf-8", "ISO-8859-1", "warning"), ("ascii", "ANSI_X3.4-1968", "failed")],
)
def test_encodings(
    subject: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, files: str, texts: str, status: str
) -> None:
    monkeypatch.setattr(clock.sys, "getfilesystemencoding", lambda: files)
    monkeypatch.setattr(clock.locale, "getpreferredencoding", lambda do_setlocale: texts)
    [finding] = check_encoding(subject())
    assert finding.status == status
