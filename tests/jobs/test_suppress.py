from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

Tamis = Callable[..., Result]
PEOPLE = ("ana@example.com", "u-7", "bob@example.com")


@pytest.fixture(autouse=True)
def keyed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAMIS_KEY", "0f" * 32)
    (folder / "people.txt").write_text("\n".join(PEOPLE), encoding="utf-8")


def listed(tamis: Tamis) -> dict[str, object]:
    found = json.loads(tamis("suppress", "list", "--json").stdout)
    assert isinstance(found, dict)
    return found


def test_gd08_people_are_added_looked_up_and_removed(tamis: Tamis, folder: Path) -> None:
    done = tamis("suppress", "add", "people.txt", "--on", "2026-02-01")
    assert (done.exit_code, done.stdout) == (0, "3 people added; 3 people on the list in out/_privacy/opposed.json\n")
    again = tamis("suppress", "add", "people.txt", "--json")
    assert json.loads(again.stdout)["changed"] == 0
    assert listed(tamis)["added"] == {"2026-02-01": 3}
    (folder / "asked.csv").write_text("user_id\nu-7\nu-8\n", encoding="utf-8")
    assert tamis("suppress", "check", "asked.csv").stdout == "1 of 2 values on the list\n"
    assert "would be removed" in tamis("suppress", "remove", "asked.csv").stdout
    assert "would be removed" in tamis("suppress", "remove", "asked.csv", "--yes", "--dry-run").stdout
    assert listed(tamis)["listed"] == 3
    assert tamis("suppress", "remove", "asked.csv", "--yes").stdout.startswith("1 person removed, 1 were not on it; 2")
    assert json.loads(tamis("suppress", "check", "asked.csv", "--json").stdout) == {"asked": 2, "listed": 0}


def test_gd08_nobody_can_be_told_from_what_is_printed_and_kept(tamis: Tamis, folder: Path) -> None:
    done = [
        tamis("suppress", "add", "people.txt"),
        tamis("suppress", "list"),
        tamis("suppress", "check", "people.txt"),
        tamis("suppress", "remove", "people.txt"),
        tamis("suppress", "add", "nosuch.txt"),
    ]
    said = "".join(one.output for one in done)
    kept = "".join(path.read_text("latin-1") for path in (folder / "out").rglob("*") if path.is_file())
    assert not any(word in said + kept for word in ("ana", "bob", "u-7", "0f0f"))


def test_a_dry_run_writes_nothing(tamis: Tamis, folder: Path) -> None:
    assert "3 people would be added" in tamis("suppress", "add", "people.txt", "--dry-run").stdout
    assert not (folder / "out").exists()


def test_people_come_from_stdin() -> None:
    from jobs.app import app

    done = CliRunner().invoke(app, ["suppress", "add", "-", "--quiet"], input="u-1\n\n u-2 \n")
    assert (done.exit_code, done.output) == (0, "")
    assert "2 people on the list" in CliRunner().invoke(app, ["suppress", "list"]).output


@pytest.mark.parametrize(
    ("arguments", "environment", "code"),
    [
        (("add", "people.txt"), None, "key-missing"),
        (("add", "people.txt"), "0f" * 8, "key-short"),
        (("add", "empty.txt"), "0f" * 32, "users-missing"),
        (("add", "nosuch.txt"), "0f" * 32, "export-suppress"),
        (("add", "people.txt", "--on", "1.2.2026"), "0f" * 32, "as-of-invalid"),
        (("remove",), "0f" * 32, "usage"),
        (("remove", "people.txt", "--earlier-keys"), "0f" * 32, "usage"),
    ],
)
def test_what_cannot_be_done_is_told(
    tamis: Tamis,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    environment: str | None,
    code: str,
) -> None:
    (folder / "empty.txt").write_text("\n", encoding="utf-8")
    if environment is None:
        monkeypatch.delenv("TAMIS_KEY")
    else:
        monkeypatch.setenv("TAMIS_KEY", environment)
    done = tamis("suppress", *arguments)
    assert done.exit_code == 2
    assert f"error[{code}]" in done.stderr
    assert not (folder / "out").exists()


def test_gd06_after_a_change_of_keys_the_list_is_added_again(tamis: Tamis, monkeypatch: pytest.MonkeyPatch) -> None:
    tamis("suppress", "add", "people.txt")
    monkeypatch.setenv("TAMIS_KEY", f"{'a5' * 32} {'0f' * 32}")
    tamis("suppress", "add", "people.txt")
    assert listed(tamis)["listed"] == 6
    assert "3 people removed" in tamis("suppress", "remove", "--earlier-keys", "--yes").stdout
    assert tamis("suppress", "check", "people.txt").stdout == "3 of 3 values on the list\n"
