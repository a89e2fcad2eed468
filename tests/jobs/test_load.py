from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
import yaml
from typer.testing import CliRunner, Result

from jobs.app import app
from tests.samples import AS_OF
from tests.warehouse.sample import HandMade, hand_made

Tamis = Callable[..., Result]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> HandMade:
    return hand_made(tmp_path_factory.mktemp("made"))


@pytest.fixture
def tamis(made: HandMade, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Tamis:
    monkeypatch.chdir(tmp_path)
    file = str(made.out.parent / "tamis.toml")
    return lambda *arguments: CliRunner().invoke(app, [*arguments, "-c", file])


def test_a_load_says_what_it_did(tamis: Tamis) -> None:
    done = tamis("load", "duckdb", "a.duckdb", "--as-of", f"{AS_OF}", "--table", "segments", "--table", "memberships")
    assert done.exit_code == 0, done.stderr
    assert done.stderr.splitlines() == [f"memberships: 60 rows of {AS_OF}", f"segments: 60 rows of {AS_OF}"]
    assert done.stdout == ""
    told = tamis("load", "duckdb", "a.duckdb", "--as-of", f"{AS_OF}", "--json", "--schema", "crm")
    assert json.loads(told.stdout)["tables"][-1] == {"table": "segments", "rows": 60, "added_columns": []}
    with duckdb.connect("a.duckdb") as connection:
        assert connection.execute(
            "SELECT count(*) FROM crm.segments UNION ALL FROM (SELECT count(*) FROM segments)"
        ).fetchall() == [
            (60,),
            (60,),
        ]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (
            ("duckdb", "a.duckdb", "--as-of", "2026-02-01"),
            2,
            "error[not-published]: nothing is published for 2026-02-01",
        ),
        (("duckdb", "a.duckdb", "--as-of", "tomorrow"), 2, "error[as-of-invalid]"),
        (("duckdb", "a.duckdb", "--as-of", f"{AS_OF}", "--table", "segmnts"), 2, "did you mean 'segments'"),
        (("postgres", "swordfish", "--as-of", f"{AS_OF}"), 2, "error[load-dsn]"),
        (("postgres", "postgresql://u:swordfish@127.0.0.1:1/x", "--as-of", f"{AS_OF}"), 75, "127.0.0.1:1"),
    ],
)
def test_what_cannot_be_loaded(tamis: Tamis, arguments: tuple[str, ...], exit_code: int, says: str) -> None:
    done = tamis("load", *arguments)
    assert done.exit_code == exit_code
    assert says in done.stderr
    assert "swordfish" not in done.stderr
    assert not Path("a.duckdb").exists()


def test_ddl_prints_what_a_warehouse_runs(tamis: Tamis) -> None:
    done = tamis("ddl", "duckdb", "--as-of", f"{AS_OF}")
    assert done.exit_code == 0, done.stderr
    with duckdb.connect() as connection:
        connection.execute(done.stdout)
        assert connection.execute("SELECT count(*) FROM memberships").fetchone() == (60,)


def test_ddl_writes_the_manifests_of_redshift(tamis: Tamis) -> None:
    done = tamis("ddl", "redshift", "--location", "s3://b/t", "--table", "memberships", "--manifests", "up")
    assert done.exit_code == 0, done.stderr
    (file,) = Path("up").rglob("*.manifest")
    assert f"s3://b/t/{file.relative_to('up')}" in done.stdout
    assert len(json.loads(file.read_text(encoding="utf-8"))["entries"]) == 2


def test_ddl_for_dbt(tamis: Tamis) -> None:
    done = tamis("ddl", "dbt", "--table", "segments", "--schema", "crm")
    assert yaml.safe_load(done.stdout)["sources"][0]["tables"][0]["name"] == "segments"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("bigquery",), "error[warehouse-location]"),
        (("postgres", "--external"), "error[warehouse-no-external]"),
        (("oracle",), "error[usage]"),
        (("duckdb", "--manifests", "up"), "--manifests is for redshift alone"),
        (("duckdb", "--schema", "a\nb"), "error[warehouse-name]"),
    ],
)
def test_what_cannot_be_written_down(tamis: Tamis, arguments: tuple[str, ...], says: str) -> None:
    done = tamis("ddl", *arguments)
    assert done.exit_code == 2
    assert says in done.stderr
