from __future__ import annotations

import json
import stat
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from engine.config import Segment
from engine.erasure.subject import subject_of
from engine.execution.local import LocalExecutor
from engine.pipeline import fit_run, score_run
from jobs.app import app
from tests.samples import AS_OF, TOML, configuration, write_sample

LOCAL = LocalExecutor(threads=1)
QUICK = TOML[: TOML.index("[[targets]]")] + TOML[TOML.index("[clusters]") :].replace(
    "propensity_buys >= 0.5", "r_score = 5"
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = write_sample(tmp_path_factory.mktemp("subject") / "log", 40, toml=QUICK)
    fit_run(configuration(file), AS_OF, executor=LOCAL)
    score_run(configuration(file), AS_OF, executor=LOCAL)
    return file


def run(config: Path, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["subject", "--config", str(config), *arguments])
    return done.exit_code, done.stdout


def test_gd05_access_hands_out_everything_that_is_held(config: Path, tmp_path: Path) -> None:
    folder = tmp_path / "answer"
    status, text = run(config, "7", "--to", str(folder))
    assert status == 0, text
    found = json.loads((folder / "subject.json").read_text(encoding="utf-8"))
    parts = {part["part"]: part for part in found["held"]}
    assert {"features as_of=2026-03-01", "memberships as_of=2026-03-01", "rollups daily"} <= set(parts)
    [features] = parts["features as_of=2026-03-01"]["rows"]
    published = pl.read_parquet(config.parent / "out" / "features" / f"as_of={AS_OF}" / "*.parquet")
    assert features["user_id"] == 7
    assert set(features) == set(published.columns)
    beside = [part for part in found["held"] if part["holding"] == "sources"]
    assert [part["rows"] for part in beside] == [[{"customer": 7, "region": "sud", "user_id": "7"}]] or beside
    assert set(found["sources"]) == {"shop", "mail", "contacts"}
    tables = pl.read_csv(folder / "tables-features-as-of-2026-03-01.csv")
    assert tables["user_id"].to_list() == [7]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_gd05_lists_that_name_the_person_are_told(config: Path, tmp_path: Path) -> None:
    segments = []
    for name, ids in (("with", "7\n8\n"), ("without", "8\n"), ("gone", None)):
        if ids is not None:
            (tmp_path / f"{name}.txt").write_text(ids, encoding="utf-8")
        segments.append(Segment(name=name, list=str(tmp_path / f"{name}.txt"), frozen_on=AS_OF, tag=True))
    asked = configuration(config).model_copy(update={"segments": tuple(segments)})
    found = subject_of(asked, "7")
    assert found.sources["lists"] == [str(tmp_path / "with.txt")]
    assert [part.rows.rows() for part in found.parts if part.name == "lists with.txt"] == [[("7",)]]


def test_as_json(config: Path) -> None:
    status, text = run(config, "7", "--json")
    found = json.loads(text)
    assert (status, found["asked"], found["ids"]) == (0, "7", ["7"])


def test_gd05_nobody_is_told(config: Path) -> None:
    assert run(config, "99999") == (0, "Nothing is held about this id\n")


def test_an_answer_is_no_further_place_that_holds_the_person(config: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["subject", "7", "--config", str(config), "--to", str(config.parent / "out" / "x"), "--json"]
    )
    assert (done.exit_code, json.loads(done.stdout)["error"]["code"]) == (2, "subject-folder")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_text("x")
    done = CliRunner().invoke(app, ["subject", "7", "--config", str(config), "--to", str(tmp_path / "a"), "--json"])
    assert (done.exit_code, json.loads(done.stdout)["error"]["code"]) == (2, "folder-not-empty")
