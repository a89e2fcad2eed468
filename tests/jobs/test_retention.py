from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from typer.testing import Result

from engine.execution.local import LocalExecutor
from engine.pipeline import run
from tests.samples import configuration

Tamis = Callable[..., Result]
AS_OF = date(2026, 3, 1)
GONE = "canary-opens-daily"
STAYS = "canary-clicked-lately"
TOML = """\
out = "out"

[[sources]]
name = "log"
path = "log/*.parquet"
[sources.columns]
user_id = "user"
event_type = "kind"
event_time = "at"

[events]
click = "click"
open = "open"
send = "send"
purchase = "buy"

[clusters]
enabled = false

[retention]
person_days = 1_095
tables = { scores = 30 }

[[segments]]
name = "openers"
where = "open_count_7d > 0"
"""


def write_log(folder: Path) -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    rows = [(f"user-{number:03d}", kind, 3 + number) for number in range(40) for kind in ("buy", "open", "click")]
    rows += [(user, kind, days) for user in (GONE, STAYS) for kind in ("open", "send") for days in range(1, 9)]
    rows += [(GONE, "click", 1_096), (STAYS, "click", 1_094)]
    frame = pl.DataFrame(
        [(user, kind, noon - timedelta(days=days)) for user, kind, days in rows],
        {"user": pl.String, "kind": pl.String, "at": pl.Datetime("us", "UTC")},
        orient="row",
    )
    (folder / "log").mkdir()
    frame.write_parquet(folder / "log" / "all.parquet")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("retention")
    write_log(folder)
    (folder / "tamis.toml").write_text(TOML, encoding="utf-8")
    run(configuration(folder / "tamis.toml"), AS_OF, executor=LocalExecutor())
    return folder


@pytest.fixture
def folder(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = Path(shutil.copytree(published, tmp_path / "copy"))
    monkeypatch.chdir(copy)
    monkeypatch.setenv("TAMIS_KEY", "0f" * 32)
    return copy


def published_users(folder: Path) -> set[str]:
    return set(pl.read_parquet(folder / "out" / "features" / f"as_of={AS_OF}" / "*.parquet")["user_id"])


def files_with(folder: Path, user: str) -> set[str]:
    """Files below the output root with an id of a user, in Parquet columns or in plain bytes."""
    found = set()
    for path in sorted((folder / "out").rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            if path.suffix == ".parquet":
                content += str(pl.read_parquet(path, hive_partitioning=False).to_dicts()).encode()
            if user.encode() in content:
                found.add(path.relative_to(folder / "out").as_posix())
    return found


def test_without_yes_it_only_says_what_would_go(tamis: Tamis, folder: Path) -> None:
    for arguments in ((), ("--dry-run",), ("--yes", "--dry-run")):
        done = tamis("retention", "--as-of", str(AS_OF), *arguments)
        assert done.exit_code == 0, done.stderr
        assert "1 of 42 users" in done.stdout
        assert done.stdout.splitlines()[-1] == "Nothing was changed; --yes does it."
        assert "canary" not in done.stdout + done.stderr
    assert published_users(folder) >= {GONE, STAYS}
    assert not (folder / "out" / "_privacy" / "receipts").exists()


def test_gd10_the_person_who_only_opens_is_erased_and_the_other_stays(tamis: Tamis, folder: Path) -> None:
    assert len(files_with(folder, GONE)) >= 3
    done = tamis("retention", "--as-of", str(AS_OF), "--yes", "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["applied"], told["people"]["expired"], told["people"]["acts"]) == (True, 1, ["buy", "click"])
    assert files_with(folder, GONE) == set()
    assert STAYS in published_users(folder)
    assert len(published_users(folder)) == 41
    assert "canary" not in done.stdout + done.stderr
    receipts = [json.loads((folder / "out" / name).read_bytes()) for name in told["receipts"]]
    assert receipts[0]["reason"] == "retention"
    assert (receipts[-1]["kind"], receipts[-1]["people_erased"]) == ("retention", 1)
    assert receipts[-1]["erasures"] == told["receipts"][:-1]
    assert tamis("verify", "--deep").exit_code == 0
    again = json.loads(tamis("retention", "--as-of", str(AS_OF), "--yes", "--json").stdout)
    assert (again["people"]["expired"], again["receipts"]) == (0, [])
    # The source still has the events: a run does not bring the person back.
    assert tamis("score", "--as-of", str(AS_OF + timedelta(days=1))).exit_code == 0
    assert files_with(folder, GONE) == set()
    assert files_with(folder, STAYS)


def test_without_a_key_nothing_is_erased(tamis: Tamis, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TAMIS_KEY")
    done = tamis("retention", "--as-of", str(AS_OF), "--yes")
    assert done.exit_code == 2
    assert "error[key-missing]" in done.stderr
    assert GONE in published_users(folder)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--as-of", "2999-01-01"), "as-of-future"),
        (("--as-of", "soon"), "as-of-invalid"),
        (("--set", "retention={}"), "retention-none"),
        (("--as-of", str(AS_OF), "--set", 'retention.acts=["open"]'), "retention-acts"),
    ],
)
def test_mistakes(tamis: Tamis, folder: Path, arguments: tuple[str, ...], code: str) -> None:
    done = tamis("retention", *arguments)
    assert done.exit_code == 2
    assert f"error[{code}]" in done.stderr
    assert folder.exists()


def test_nothing_too_old(tamis: Tamis, folder: Path) -> None:
    done = tamis("retention", "--as-of", str(AS_OF - timedelta(days=1)))
    assert done.stdout.splitlines()[-1] == f"Nothing is older than its period as of {AS_OF - timedelta(days=1)}."
    assert tamis("retention", "--as-of", str(AS_OF), "--quiet").stdout == ""
    assert folder.exists()
