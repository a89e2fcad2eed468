from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from engine.errors import ConfigError, IntegrityError
from engine.execution.local import LocalExecutor
from engine.ledger.previous import find_previous
from engine.rollups.ranges import key_ranges
from engine.stages.verifying import VerifiedOutput, verify_output
from tests.ledger.publishing import Day, Defined, publish_day

HERE = LocalExecutor(threads=1)
DATES = [date(2026, 1, day) for day in (1, 2, 3)]
DAYS = [
    Day(
        day,
        {user: {"days_since_purchase": number, "r_score": 1} for user in range(4)},
        {user: {"a" if user > number else "b"} for user in range(4)},
        [Defined("a"), Defined("b")],
    )
    for number, day in enumerate(DATES)
]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("verify") / "out"
    for day in DAYS:
        publish_day(out, day)
    return out


@pytest.fixture
def out(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "out"))


def verified(out: Path, as_of: date | None = None, *, deep: bool = False) -> VerifiedOutput:
    return verify_output(out, as_of, deep=deep, executor=HERE)


def one(out: Path, pattern: str) -> Path:
    return min(out.glob(pattern))


def flip(path: Path, at: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if at < 0 else at] ^= 1
    path.write_bytes(content)


def test_what_was_written_is_whole(out: Path) -> None:
    found = verified(out, deep=True)
    assert found.problems == ()
    assert found.dates == tuple(DATES)
    assert found.leftovers == ()
    on_disk = [path for path in out.glob("*/as_of=*/**/*.parquet") if path.is_file()]
    assert (found.files, found.bytes) == (len(on_disk), sum(path.stat().st_size for path in on_disk))
    assert verified(out, DATES[1]).dates == (DATES[1],)
    assert verified(out.parent / "nowhere").problems == ()


def test_a_date_that_is_not_published(out: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        verified(out, date(2026, 2, 1))
    assert refused.value.code == "not-published"


def test_a_flipped_bit_in_any_published_file_is_found(out: Path) -> None:
    files = [path for path in sorted(out.glob("*/as_of=*/**/*.parquet")) if path.is_file()]
    assert len(files) > 10
    for path in files:
        whole = path.read_bytes()
        for at in (len(whole) // 3, len(whole) - 6):
            flip(path, at)
            found = verified(out)
            path.write_bytes(whole)
            assert [problem.where for problem in found.problems] == [path.relative_to(out).as_posix()]
            assert "run 2026-01-0" in found.problems[0].remedy


@pytest.mark.parametrize(
    ("change", "where", "problem"),
    [
        (lambda out: one(out, "features/as_of=2026-01-02/*.parquet").unlink(), "features/as_of=2026-01-02/", "missing"),
        (
            lambda out: shutil.copy(
                one(out, "scores/as_of=2026-01-02/*.parquet"), out / "scores" / "as_of=2026-01-02" / "more.parquet"
            ),
            "scores/as_of=2026-01-02/more.parquet",
            "not in the manifest",
        ),
        (
            lambda out: shutil.copytree(out / "scores" / "as_of=2026-01-02", out / "scores" / "as_of=2026-01-09"),
            "scores/as_of=2026-01-09",
            "no manifest names it",
        ),
        (
            lambda out: shutil.copytree(out / "scores" / "as_of=2026-01-02", out / "points" / "as_of=2026-01-02"),
            "points/as_of=2026-01-02",
            "the manifest has no such table",
        ),
        (
            lambda out: (out / "_manifests" / "as_of=2026-01-03.json").write_text("{}", encoding="utf-8"),
            "_manifests/as_of=2026-01-03.json",
            "version",
        ),
        (
            lambda out: (out / "_rollups").mkdir() or (out / "_rollups" / "index.json").write_text("?"),
            "_rollups/index.json",
            "no index",
        ),
        (
            lambda out: (out / "_bundles" / "0123456789ab").mkdir(parents=True),
            "_bundles/0123456789ab",
            "files.json",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    out: Path, change: Callable[[Path], object], where: str, problem: str
) -> None:
    change(out)
    found = verified(out)
    assert [one.where.startswith(where) for one in found.problems] == [True]
    assert problem in found.problems[0].problem
    assert found.problems[0].remedy


def test_a_ledger_that_was_made_from_another_state(out: Path, tmp_path: Path) -> None:
    other = Day(DATES[1], DAYS[1].users, {0: {"a"}}, DAYS[1].defined, note="again")
    publish_day(out, other, correct=False)
    found = verified(out)
    assert [problem.where for problem in found.problems] == ["_manifests/as_of=2026-01-03.json"]
    assert "2026-01-02" in found.problems[0].problem
    assert verified(out, DATES[0]).problems == ()
    publish_day(out, other)
    assert verified(out).problems == ()


def test_leftovers_are_no_damage(out: Path) -> None:
    (out / "_work" / "score-x").mkdir(parents=True)
    (out / "_work" / "score-y").mkdir()
    (out / "_work" / "score-y" / "commit.json").write_text("{}", encoding="utf-8")
    found = verified(out)
    assert found.problems == ()
    assert found.leftovers[0] == "_work/score-x"
    assert "the next run completes it" in found.leftovers[1]


@pytest.mark.parametrize("table", ["memberships", "features", "segment_definitions"])
def test_the_next_run_refuses_what_it_would_read_of_the_date_before(out: Path, table: str) -> None:
    flip(one(out, f"{table}/as_of=2026-01-03/*.parquet"), 40)
    later = Day(date(2026, 1, 4), DAYS[0].users, {user: {"b"} for user in range(4)}, DAYS[0].defined)
    with pytest.raises(IntegrityError, match=f"{table}/as_of=2026-01-03/part-") as refused:
        publish_day(out, later)
    assert refused.value.code == "ledger-previous"
    assert not (out / "_manifests" / "as_of=2026-01-04.json").exists()


def test_only_files_that_are_near_are_compared(out: Path) -> None:
    previous = find_previous(out, date(2026, 1, 4))
    assert previous is not None
    near = previous.near(key_ranges(1)[0])
    assert dict(near.checksums).keys() == {path for _, parts in near.files for _, path in parts}
