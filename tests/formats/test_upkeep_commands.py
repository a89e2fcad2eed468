from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.app import app
from tests.formats.samples import DAY, publish_date

TOML = """\
out = "out"
[[sources]]
name = "shop"
path = "events.parquet"
[sources.columns]
user_id = "customer"
event_type = { value = "purchase" }
event_time = "date"
[publish]
format = "delta"
tables = ["segments", "memberships"]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("deltalake")
    (tmp_path / "tamis.toml").write_text(TOML, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    publish_date(tmp_path / "out", DAY, {"loyal": [1, 2], "lost": [3]})
    return tmp_path


def test_publish_and_look_at_the_tables(folder: Path) -> None:
    def tamis(*arguments: str) -> str:
        result = CliRunner().invoke(app, list(arguments))
        assert result.exit_code == 0, result.output
        return result.stdout

    assert "2 commits to" in tamis("publish")
    assert "Nothing to commit" in tamis("publish", "--as-of", "2026-01-31")
    assert json.loads(tamis("publish", "--json"))["committed"] == []
    listed = {table["table"]: table for table in json.loads(tamis("tables", "list", "--json"))["tables"]}
    assert (listed["segments"]["rows"], listed["segments"]["last"]) == (3, "2026-01-31")
    assert "segments" in tamis("tables", "list")
    assert "score-2026-01-31-a" in tamis("tables", "history", "segments", "--limit", "1")
    assert tamis("tables", "optimize").splitlines()[0].split() == ["table", "small", "files", "put", "into"]
    assert "segments: 0 files would be removed" in tamis("tables", "vacuum", "--dry-run", "segments")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('tables = ["segment"]', "did you mean 'segments'"),
        ('format = "parquet"\ncatalog = "sqlite:///x.db"', "catalog is for format = 'iceberg'"),
        ("keep_versions = 0", "publish.keep_versions"),
        ('url = "file:///x"', "expected a path, s3://"),
        ('format = "parquet"\nurl = "lake"', "the format is 'parquet'"),
    ],
)
def test_a_section_that_cannot_be(folder: Path, line: str, said: str) -> None:
    head = TOML.partition("[publish]")[0]
    (folder / "tamis.toml").write_text(f"{head}[publish]\n{line}\n", encoding="utf-8")
    result = CliRunner().invoke(app, ["publish"])
    assert result.exit_code == 2
    assert said in result.output
