from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from typer.testing import Result

from engine.bundle_store import write_bundle
from engine.cluster_history import HISTORY
from engine.cluster_tables import LIST, MOVES
from engine.clusters.identity import Event, Identity
from engine.clusters.moves import Moves
from engine.clusters.profiles import TABLE
from engine.clusters.record import Clustered
from tests.bundles import DAY, bundle, clusters

Tamis = Callable[..., Result]
EARLIER = DAY - timedelta(days=7)


def later(clustered: Clustered) -> Clustered:
    """The same clusters after a fit that found one more, and which users moved to."""
    events = (Event("split", 0, (2,), 90), Event("kept", 1, (), 200))
    return replace(
        clustered,
        identity=Identity((0, 1), 3, events),
        moves=Moves(((0, 0, 90), (0, 1, 10), (1, 1, 190), (1, 2, 10))),
    )


def write(out: Path, number: int, as_of: date = DAY, **changes: Any) -> str:
    made = bundle(number, **{"as_of": as_of, "clusters": clusters(k_max=2), **changes})
    return write_bundle(made, out / "_work" / f"{number}", out).name


@pytest.fixture
def out(folder: Path) -> Path:
    write(folder / "out", 1, EARLIER)
    write(folder / "out", 2, DAY, clusters=later(clusters(k_max=2)))
    return folder / "out"


def lines(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def found(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def test_list(tamis: Tamis, out: Path) -> None:
    shown = lines(tamis("clusters", "list"))
    assert re.fullmatch(r"Bundle [0-9a-f]{12}, fitted as of 2026-03-01, made of tenure_days, view_count_30d", shown[0])
    assert re.split(r"\s{2,}", shown[1].strip()) == [
        "cluster", "name", "users", "share", "value share", "silhouette", "jaccard", "stable",
    ]  # fmt: skip
    names = clusters(k_max=2).clustering.names
    assert [re.split(r"\s{2,}", line.strip())[1] for line in shown[2:4]] == list(names)
    assert shown[4].startswith("silhouette ")
    answer = found(tamis("clusters", "list", "--json"))
    assert sum(entry["users"] for entry in answer["clusters"]) == 300
    assert [entry["name"] for entry in answer["clusters"]] == list(names)
    assert (answer["as_of"], answer["moved_share"]) == (str(DAY), 20 / 300)
    assert [point["k"] for point in answer["curve"]] == [2]
    assert out.is_dir()


def test_names_of_the_configuration_are_shown(tamis: Tamis, out: Path) -> None:
    named = ["--set", 'clusters.names={ 0 = "Best" }']
    assert found(tamis("clusters", "list", "--json", *named))["clusters"][0]["name"] == "Best"
    assert lines(tamis("clusters", "profile", "best", *named))[0].startswith("Best (0): ")
    assert found(tamis("clusters", "history", "--json", *named))["history"][0]["name"] == "Best"
    assert out.is_dir()


def test_profile(tamis: Tamis, out: Path) -> None:
    shown = lines(tamis("clusters", "profile", "1"))
    assert shown[0].startswith(f"{clusters(k_max=2).names[1]} (1): ")
    assert any(line.strip().startswith("view_count_30d") for line in shown)
    assert any(line.strip().startswith("region = ") for line in shown)
    everyone = found(tamis("clusters", "profile", "--json"))["profiles"]
    assert {entry["cluster"] for entry in everyone} == {0, 1}
    result = tamis("clusters", "profile", "7")
    assert result.exit_code == 2
    assert "error[cluster-unknown]" in result.stderr
    assert out.is_dir()


def test_moves(tamis: Tamis, out: Path) -> None:
    shown = lines(tamis("clusters", "moves"))
    assert [line.split() for line in shown[1:4]] == [
        ["from", "/", "to", "0", "1", "2"],
        ["0", "90", "10", "0"],
        ["1", "0", "190", "10"],
    ]
    assert shown[4].startswith("20 of 300 users moved (6.7%); adjusted Rand index 0.")
    answer = found(tamis("clusters", "moves", "--json"))
    assert sum(entry["users"] for entry in answer["moves"]) == answer["figures"]["users"] == 300
    first = sorted(path.name for path in (out / "_bundles").iterdir() if path.is_dir())
    [without] = [name for name in first if found(tamis("clusters", "moves", "--bundle", name, "--json"))["moves"] == []]
    assert lines(tamis("clusters", "moves", "--bundle", without)) == [
        "No moves: no bundle with clusters was in use before this fit."
    ]


def test_history(tamis: Tamis, out: Path) -> None:
    rows = found(tamis("clusters", "history", "--json"))["history"]
    told = [(row["as_of"], row["cluster"], row["event"], row["others"]) for row in rows]
    assert told == [
        (str(EARLIER), 0, "new", ""),
        (str(EARLIER), 1, "new", ""),
        (str(DAY), 0, "split", "2"),
        (str(DAY), 1, "kept", ""),
        (str(DAY), 2, "new", "0"),
    ]
    assert [(row["moved_in"], row["moved_out"]) for row in rows] == [(None, None)] * 2 + [(0, 10), (10, 10), (10, 0)]
    assert len(lines(tamis("clusters", "history"))) == 6
    assert out.is_dir()


def test_history_has_one_fit_of_a_day_and_no_held_ones(tamis: Tamis, out: Path) -> None:
    last = write(out, 3, DAY)
    held = bundle(4, clusters=clusters(k_max=2), as_of=DAY + timedelta(days=1))
    write_bundle(held, out / "_work" / "4", out, promote=False)
    rows = found(tamis("clusters", "history", "--json"))["history"]
    assert {(row["as_of"], row["bundle"]) for row in rows if row["as_of"] != str(EARLIER)} == {(str(DAY), last)}


@pytest.mark.parametrize(
    ("command", "schema"), [("list", LIST), ("profile", TABLE), ("moves", MOVES), ("history", HISTORY)]
)
@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_tables_are_written(command: str, schema: pl.Schema, ending: str, tamis: Tamis, out: Path) -> None:
    file = out.parent / f"table.{ending}"
    lines(tamis("clusters", command, "--to", str(file), "--quiet"))
    found = pl.read_parquet(file) if ending == "parquet" else pl.read_csv(file)
    assert found.columns == list(schema)
    assert not found.is_empty()
    again = file.with_stem("again")
    lines(tamis("clusters", command, "--to", str(again), "--quiet"))
    assert_frame_equal(pl.read_parquet(again) if ending == "parquet" else pl.read_csv(again), found)


@pytest.mark.parametrize(
    ("to", "code"), [("table.xlsx", "to-ending"), ("table", "to-ending"), ("none/table.csv", "to-no-folder")]
)
def test_files_that_cannot_be_written(to: str, code: str, tamis: Tamis, out: Path) -> None:
    result = tamis("clusters", "history", "--to", to)
    assert result.exit_code == 2
    assert f"error[{code}]" in result.stderr
    assert out.is_dir()


def test_before_the_first_fit_and_without_clusters(tamis: Tamis, folder: Path) -> None:
    assert lines(tamis("clusters", "history")) == ["No promoted bundle with clusters under out; `tamis fit` makes one."]
    assert "error[bundle-missing]" in tamis("clusters", "list").stderr
    write(folder / "out", 1, clusters=None)
    result = tamis("clusters", "list")
    assert result.exit_code == 2
    assert "error[bundle-no-clusters]" in result.stderr
