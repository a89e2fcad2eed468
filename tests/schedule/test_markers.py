from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pytest
from pydantic import ValidationError

from engine.config_file import config_hash, load_config
from engine.config_schedule import Schedule
from engine.errors import ExitCode, TransientError
from engine.schedule.markers import LOOK_SECONDS, await_markers, marker_paths, missing_markers
from engine.schedule.pause import Pause
from tests.schedule.samples import TOML

AS_OF = date(2026, 3, 1)


@dataclass
class Time:
    """A clock that only sleeping moves; at some moments something happens."""

    now: float = 100.0
    events: dict[float, Path] = field(default_factory=dict)
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.slept.append(seconds)
        self.now += seconds
        for moment, path in self.events.items():
            if self.now >= moment:
                path.touch()

    @property
    def pause(self) -> Pause:
        return Pause(lambda: self.now, self.sleep)


@pytest.mark.parametrize(
    ("marker", "expected"),
    [
        (None, ()),
        ("log/{day}/_SUCCESS", ("log/2026-02-28/_SUCCESS",)),
        ("log/{as_of}.done", ("log/2026-03-01.done",)),
        ("s3://lake/{day:%Y/%m/%d}/_SUCCESS", ("s3://lake/2026/02/28/_SUCCESS",)),
        ("dt={day:%Y%m%d}/v=100%/{as_of:%j}", ("dt=20260228/v=100%/060",)),
        (("a/{day}", "b/{day}"), ("a/2026-02-28", "b/2026-02-28")),
    ],
)
def test_the_day_is_the_last_one_that_counts(marker: str | tuple[str, ...] | None, expected: tuple[str, ...]) -> None:
    assert marker_paths(Schedule(marker=marker), AS_OF) == expected


@pytest.mark.parametrize("form", ["%Q", "YYYY/MM/DD", "%Y%", "%Y-%m-%d %H", "100%%"])
def test_a_form_that_is_not_of_a_day_is_refused(form: str) -> None:
    with pytest.raises(ValidationError, match="expected a form of a day"):
        Schedule(marker=f"log/{{day:{form}}}/_SUCCESS")
    assert marker_paths(Schedule(marker="log/{day:%-d.%b %G}"), AS_OF) == ("log/28.Feb 2026",)


@pytest.mark.parametrize("marker", ["log/_SUCCESS", "log/{date}/_SUCCESS", "{day}/*.ok", "{day}/{hour}", "{day.year}"])
def test_what_is_no_marker_is_refused(marker: str) -> None:
    with pytest.raises(ValidationError, match="expected one file with"):
        Schedule(marker=marker)


def test_markers_lie_beside_the_configuration_and_change_no_number(tmp_path: Path) -> None:
    file = tmp_path / "tamis.toml"
    file.write_text(TOML, encoding="utf-8")
    plain = load_config(file).config
    file.write_text(TOML + '[schedule]\nmarker = "log/{day}.ok"\nif_done = "skip"\n', encoding="utf-8")
    config = load_config(file).config
    assert marker_paths(config.schedule, AS_OF) == (str(tmp_path / "log/2026-02-28.ok"),)
    assert config_hash(config) == config_hash(plain)


def schedule(folder: Path, **others: object) -> Schedule:
    marker = (str(folder / "a-{day}"), str(folder / "b-{day}"))
    return Schedule.model_validate({"marker": marker, **others})


def test_a_complete_day_waits_for_nothing(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}-2026-02-28").touch()
    time = Time()
    assert missing_markers(schedule(tmp_path), AS_OF) == ()
    assert await_markers(schedule(tmp_path), AS_OF, tell=pytest.fail, pause=time.pause) == ()
    assert time.slept == []


def test_it_waits_until_the_last_marker_is_there(tmp_path: Path) -> None:
    (tmp_path / "a-2026-02-28").touch()
    time, told = Time(events={1000.0: tmp_path / "b-2026-02-28"}), []
    asked = schedule(tmp_path, marker_wait_minutes=60)
    assert await_markers(asked, AS_OF, tell=told.append, pause=time.pause) == ()
    assert 1000 <= time.now < 1000 + LOOK_SECONDS
    # At the beginning and after ten minutes, and only what is missing.
    assert [text.partition(" for ")[0] for text in told] == [
        "waiting up to 60 minutes",
        "waiting up to 50 minutes",
    ]
    assert all("b-2026-02-28" in text and "a-2026" not in text for text in told)


@pytest.mark.parametrize("minutes", [0, 0.4, 30])
def test_it_stops_to_be_tried_again(tmp_path: Path, minutes: float) -> None:
    time = Time()
    asked = schedule(tmp_path, marker_wait_minutes=minutes)
    with pytest.raises(TransientError, match=r"a-2026-02-28.*b-2026-02-28") as caught:
        await_markers(asked, AS_OF, tell=lambda _: None, pause=time.pause)
    assert caught.value.code == "marker-missing"
    assert caught.value.exit_code is ExitCode.TRANSIENT
    assert time.now == pytest.approx(100 + 60 * minutes)


def test_it_goes_on_with_a_warning(tmp_path: Path) -> None:
    [warning] = await_markers(schedule(tmp_path, if_missing="go_on"), AS_OF, tell=pytest.fail, pause=Time().pause)
    assert "may not be complete as of 2026-03-01" in warning
    assert "b-2026-02-28" in warning
