from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.config import Config
from engine.errors import ConfigError, ConflictError, DataError, ExitCode, HeldError, TransientError
from engine.execution.local import LocalExecutor
from engine.ledger import cascade
from engine.ledger.cascade import pending_correction
from engine.ledger.previous import ledger_of, link_of
from engine.pipeline import fit_run, run
from engine.schedule import backfill as module
from engine.schedule.backfill import How, Outcome, backfill, worst
from engine.schedule.finished import find_finished
from engine.tables.layout import manifest_path
from engine.tables.lock import writer_lock
from engine.tables.manifest import Manifest, read_manifest
from engine.why.published import published_dates
from tests.samples import files
from tests.schedule.samples import DAYS, config_in, day_of, purchases, write_day, write_log

LOCAL = LocalExecutor(threads=1)
DATES = tuple(day_of(number) for number in (6, 9, 12, 15))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("log")
    write_log(folder)
    return folder


@pytest.fixture(scope="module")
def fitted(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output root where all events are rolled up, and the bundle of all dates is."""
    out = tmp_path_factory.mktemp("fitted") / "out"
    fit_run(config_in(log, out=str(out)), DATES[0], executor=LOCAL)
    return out


@pytest.fixture
def config(log: Path, fitted: Path, tmp_path: Path) -> Config:
    """Nothing is published."""
    shutil.copytree(fitted, tmp_path / "out")
    return config_in(log, out=str(tmp_path / "out"))


@pytest.fixture(scope="module")
def single(log: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What single runs in the order of the dates make."""
    out = tmp_path_factory.mktemp("single") / "out"
    for day in DATES:
        run(config_in(log, out=str(out)), day, executor=LOCAL)
    return out


@pytest.fixture
def filled(config: Config, single: Path) -> Config:
    """All dates are done."""
    shutil.rmtree(config.out)
    shutil.copytree(single, config.out)
    return config


def fill(config: Config, dates: Sequence[date] = DATES, **how: object) -> list[Outcome]:
    return list(backfill(config, dates, How(LOCAL, **how)))  # type: ignore[arg-type]


def states(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.state for outcome in outcomes]


def stamps(config: Config) -> dict[date, tuple[int, int]]:
    out = Path(config.out)
    status = {day: manifest_path(out, day).stat() for day in published_dates(out)}
    return {day: (one.st_ino, one.st_mtime_ns) for day, one in status.items()}


def tables(out: Path) -> dict[str, bytes]:
    """All files but the manifests, where a corrected date keeps the warnings that its own run had."""
    return {name: content for name, content in files(out).items() if not name.startswith("_manifests/")}


@pytest.mark.slow
def test_dq13_it_gives_the_bytes_of_single_runs_in_the_order_of_the_dates(
    log: Path, single: Path, tmp_path: Path
) -> None:
    config = config_in(log, out=str(tmp_path / "out"))
    outcomes = fill(config)
    assert [outcome.as_of for outcome in outcomes] == list(DATES)
    assert states(outcomes) == ["published"] * 4
    assert all(outcome.reasons == ("nothing is published",) for outcome in outcomes)
    assert files(Path(config.out)) == files(single)


def test_what_is_done_is_left_alone(filled: Config) -> None:
    before = stamps(filled)
    outcomes = fill(filled)
    assert states(outcomes) == ["done"] * 4
    assert stamps(filled) == before
    assert outcomes[1].manifest is not None
    assert outcomes[1].run_id == outcomes[1].manifest.run_id
    assert outcomes[1].counts["users"] > 0


def test_a_gap_is_filled_and_what_comes_after_corrected(config: Config, single: Path) -> None:
    fill(config, [DATES[0], DATES[2]])
    assert states(fill(config, DATES[:3])) == ["done", "published", "done"]
    expected = {name: content for name, content in tables(single).items() if str(DATES[3]) not in name}
    assert tables(Path(config.out)) == expected
    assert pending_correction(Path(config.out)) is None


@pytest.mark.slow
def test_dates_again_in_order_correct_no_ledger_twice(filled: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    corrected: Counter[date] = Counter()
    correct = cascade._correct

    def counting(manifest: Manifest, *others: Any) -> Manifest:
        corrected[manifest.as_of] += 1
        return correct(manifest, *others)

    monkeypatch.setattr(cascade, "_correct", counting)
    changed = filled.model_copy(
        update={"segments": (filled.segments[0].model_copy(update={"where": "purchase_amount_7d > 60"}),)}
    )
    assert states(fill(changed, DATES[:3])) == ["published"] * 3
    # Those that are run again need no correction; what comes after them needs one.
    assert corrected == {DATES[3]: 1}
    out = Path(filled.out)
    links = [ledger_of(read_manifest(manifest_path(out, day)))["previous"] for day in DATES[1:]]
    made = [link_of(read_manifest(manifest_path(out, day))) for day in DATES[:3]]
    assert [link["memberships"] for link in links if isinstance(link, dict)] == [link.memberships for link in made]


def test_done_dates_are_run_again_when_that_is_asked_for(filled: Config, single: Path) -> None:
    outcomes = fill(filled, DATES[2:], again=True)
    assert states(outcomes) == ["published"] * 2
    assert outcomes[0].reasons == ("asked for",)
    assert files(Path(filled.out)) == files(single)


def test_late_events_run_the_dates_that_count_them(filled: Config, log: Path) -> None:
    # The file of the next day brings purchases that were made earlier.
    late = write_day(log, day_of(DAYS), purchases(day_of(10), mark=" late"))
    try:
        outcomes = fill(filled)
        assert states(outcomes) == ["done", "done", "published", "published"]
        assert outcomes[2].reasons == ("late, corrected or removed events",)
        assert states(fill(filled)) == ["done"] * 4
    finally:
        late.unlink()


def test_dates_outside_the_log_are_refused_before_anything_is_run(config: Config) -> None:
    with pytest.raises(ConfigError, match="2 of 3 dates") as caught:
        fill(config, [day_of(0), DATES[0], day_of(DAYS) + timedelta(days=30)])
    assert caught.value.code == "backfill-outside-log"
    assert published_dates(Path(config.out)) == []


# ------------------------------------------------------------------------------------------------------------ failures


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> dict[date, Exception]:
    """Errors by date."""
    errors: dict[date, Exception] = {}

    def fails_or_runs(config: Config, as_of: date, **others: object) -> object:
        if as_of in errors:
            raise errors[as_of]
        return run(config, as_of, **others)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "run", fails_or_runs)
    return errors


def test_it_stops_at_the_first_failure(config: Config, failing: dict[date, Exception]) -> None:
    failing[DATES[1]] = DataError("no", code="input-unreadable")
    outcomes = fill(config)
    assert states(outcomes) == ["published", "failed"]
    assert outcomes[1].error is failing[DATES[1]]
    failing.clear()
    assert states(fill(config, DATES[:2])) == ["done", "published"]


@pytest.mark.slow
def test_it_keeps_going_when_it_is_told_to(config: Config, failing: dict[date, Exception], single: Path) -> None:
    failing[DATES[1]] = DataError("no", code="input-unreadable")
    failing[DATES[2]] = ValueError("a bug")
    assert states(fill(config, keep_going=True)) == ["published", "failed", "failed", "published"]
    failing.clear()
    assert states(fill(config)) == ["done", "published", "published", "done"]
    assert tables(Path(config.out)) == tables(single)


def test_ledgers_are_correct_also_after_a_failure(filled: Config, failing: dict[date, Exception]) -> None:
    failing[DATES[1]] = DataError("no", code="input-unreadable")
    assert states(fill(filled, DATES[:2], again=True)) == ["published", "failed"]
    assert pending_correction(Path(filled.out)) is None
    assert all(find_finished(filled, day) is not None for day in DATES)


def test_an_interrupt_goes_through(config: Config, failing: dict[date, Exception]) -> None:
    failing[DATES[1]] = KeyboardInterrupt()  # type: ignore[assignment]
    found: list[Outcome] = []
    with pytest.raises(KeyboardInterrupt):
        found.extend(backfill(config, DATES, How(LOCAL)))
    assert published_dates(Path(config.out)) == [DATES[0]]


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([], ExitCode.DONE),
        ([TransientError("", code="a"), HeldError("", code="b")], ExitCode.HELD),
        ([ConflictError("", code="a"), TransientError("", code="b")], ExitCode.CONFLICT),
        ([DataError("", code="a"), ValueError(), HeldError("", code="b")], ExitCode.BUG),
    ],
)
def test_the_worst_exit_code_stands_for_all(errors: list[Exception], expected: ExitCode) -> None:
    outcomes = [Outcome(day, "failed", error=error) for day, error in zip(DATES, errors, strict=False)]
    outcomes.append(Outcome(DATES[3], "done"))
    assert worst(outcomes, lambda error: getattr(error, "exit_code", ExitCode.BUG)) == expected


# -------------------------------------------------------------------------------------------------- markers and others


@pytest.mark.slow
def test_a_day_that_is_not_complete_stops_it(log: Path, tmp_path: Path) -> None:
    marker = str(tmp_path / "{day}.ok")
    config = config_in(log, out=str(tmp_path / "out"), schedule__marker=marker)
    (tmp_path / f"{day_of(5)}.ok").touch()
    outcomes = fill(config, DATES[:3])
    assert states(outcomes) == ["published", "failed"]
    assert isinstance(outcomes[1].error, TransientError)
    # What is published asks for no marker.
    (tmp_path / f"{day_of(5)}.ok").unlink()
    assert states(fill(config, DATES[:3])) == ["done", "failed"]
    late = config_in(log, out=str(tmp_path / "out"), schedule__marker=marker, schedule__if_missing="go_on")
    outcomes = fill(late, DATES[:3])
    assert states(outcomes) == ["done", "published", "published"]
    assert all("may not be complete" in outcome.counts["warnings"][0] for outcome in outcomes[1:])


def test_another_run_stops_it_where_there_is_something_to_run(filled: Config) -> None:
    manifest_path(Path(filled.out), DATES[3]).unlink()
    with writer_lock(Path(filled.out), "other"):
        assert states(fill(filled, DATES[:2])) == ["done", "done"]
        [done, locked] = fill(filled, DATES[2:])
    assert isinstance(locked.error, ConflictError)
    assert done.state == "done"
