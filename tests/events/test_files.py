from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import ConfigError
from engine.events.files import find_files, hive_values, text_kind

TREE = [
    "a.parquet",
    "b.parquet",
    "notes.txt",
    "data.v1",
    "day=1/x.parquet",
    "day=2/deep/y.parquet",
    "_staging/z.parquet",
    "day=1/.tmp/w.parquet",
    "day=2/_SUCCESS",
    "day=2/_part.parquet",
    "été [1]/ç.parquet",
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in TREE:
        file = tmp_path / "log" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (tmp_path / "log" / "empty").mkdir()
    return tmp_path / "log"


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        (["a.parquet"], ["a.parquet"]),
        (["data.v1"], ["data.v1"]),
        (["*.parquet"], ["a.parquet", "b.parquet"]),
        (["[ab].parquet"], ["a.parquet", "b.parquet"]),
        (["?.parquet", "b.parquet", "./b.parquet"], ["a.parquet", "b.parquet"]),
        (["day=2"], ["day=2/deep/y.parquet"]),
        (["day=*"], ["day=1/x.parquet", "day=2/deep/y.parquet"]),
        (["day=*/*.parquet"], ["day=1/x.parquet"]),
        (["day=*/_*.parquet"], ["day=2/_part.parquet"]),
        (["day=2/_part.parquet"], ["day=2/_part.parquet"]),
        (["_stag*/*.parquet"], ["_staging/z.parquet"]),
        (["_staging/*.parquet"], ["_staging/z.parquet"]),
        (
            ["**/*.parquet"],
            ["a.parquet", "b.parquet", "day=1/x.parquet", "day=2/deep/y.parquet", "été [1]/ç.parquet"],
        ),
        (["*/*.parquet"], ["day=1/x.parquet", "été [1]/ç.parquet"]),
        (["day=1/**/*.parquet"], ["day=1/x.parquet"]),
        (["day=2/**/y.parquet"], ["day=2/deep/y.parquet"]),
        (
            [""],
            ["a.parquet", "b.parquet", "day=1/x.parquet", "day=2/deep/y.parquet", "été [1]/ç.parquet"],
        ),
        (["été [1]"], ["été [1]/ç.parquet"]),
        (["été [1]/ç.parquet"], ["été [1]/ç.parquet"]),
        (["_staging"], ["_staging/z.parquet"]),
        (["day=1", "a.parquet"], ["a.parquet", "day=1/x.parquet"]),
    ],
)
def test_entries_stand_for_files(tree: Path, entries: list[str], expected: list[str]) -> None:
    paths = tuple(str(tree / entry) for entry in entries)
    found = find_files("shop", paths if len(paths) > 1 else paths[0])
    assert found == tuple(sorted(tree / name for name in expected))


def test_relative_paths_become_absolute(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    assert find_files("shop", ("./a.parquet", "a.parquet")) == (tree / "a.parquet",)


def test_a_file_with_several_paths_is_read_once(tree: Path) -> None:
    (tree / "0-latest.parquet").symlink_to("a.parquet")
    (tree / "zz.parquet").symlink_to(tree / "b.parquet")
    (tree / "day=0").symlink_to("day=1", target_is_directory=True)
    expected = (tree / "a.parquet", tree / "b.parquet")
    assert find_files("shop", str(tree / "*.parquet")) == expected
    assert find_files("shop", str(tree / "day=*" / "x.parquet")) == (tree / "day=1" / "x.parquet",)
    assert find_files("shop", (str(tree / "zz.parquet"), str(tree / "?.parquet"))) == expected
    # A link that stands alone is the path of its file.
    assert find_files("shop", str(tree / "zz.parquet")) == (tree / "zz.parquet",)


@pytest.mark.parametrize(
    ("entry", "shown"),
    [
        ("s3://bucket/log/*.parquet", "s3://bucket/log/*.parquet"),
        ("/etc/tamis/gs:/bucket/log", "gs://bucket/log"),
        ("abfss://c@account.dfs.core.windows.net/x", "abfss://c@account.dfs.core.windows.net/x"),
    ],
)
def test_remote_paths_are_told_so(entry: str, shown: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find_files("shop", ("nosuch", entry))
    assert caught.value.code == "input-remote"
    assert caught.value.message == f"source 'shop': expected a path on this machine, got {shown!r}"


TEXTS = ["a.csv", "B.TSV", "c.csv.gz", "sub/d.csv", ".e.csv", "_old/f.csv", "notes.txt"]


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    for name in TEXTS:
        file = tmp_path / "texts" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return tmp_path / "texts"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.csv", "csv"),
        ("a.b.TSV.gz", "csv"),
        ("a.jsonl", "jsonl"),
        ("a.ndjson.gz", "jsonl"),
        ("a.parquet", None),
        ("a.json", None),
        ("csv", None),
        ("a.csv.zip", None),
    ],
)
def test_kinds_of_text(name: str, kind: str | None) -> None:
    assert text_kind(Path("x.csv") / name) == kind


def test_a_folder_without_parquet_stands_for_its_text_files(texts: Path) -> None:
    expected = tuple(sorted(texts / name for name in ("a.csv", "B.TSV", "c.csv.gz", "sub/d.csv")))
    assert find_files("shop", str(texts), text=True) == expected
    assert find_files("shop", str(texts / "*.csv"), text=True) == (texts / "a.csv",)
    assert find_files("shop", str(texts / "*ub"), text=True) == (texts / "sub" / "d.csv",)
    (texts / "sub" / "x.parquet").touch()
    assert find_files("shop", str(texts), text=True) == (texts / "sub" / "x.parquet",)


def test_text_where_only_parquet_can_be_used(texts: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        find_files("contacts", str(texts))
    assert caught.value.code == "input-no-files"
    assert "no Parquet file matches" in caught.value.message
    with pytest.raises(ConfigError) as caught:
        find_files("contacts", (str(texts / "c.csv.gz"), str(texts / "a.csv")))
    assert caught.value.code == "input-not-parquet"
    assert caught.value.message == f"source 'contacts': expected Parquet files, got {str(texts / 'a.csv')!r}"


def test_kinds_are_not_mixed(texts: Path) -> None:
    (texts / "x.ndjson").touch()
    (texts / "y.parquet").touch()
    with pytest.raises(ConfigError) as caught:
        find_files("shop", tuple(str(texts / name) for name in ("a.csv", "x.ndjson", "y.parquet")), text=True)
    assert caught.value.code == "input-mixed-kinds"
    message = caught.value.message.replace(str(texts), "")
    assert (
        message
        == "source 'shop': files of different kinds: CSV ('/a.csv'), JSON lines ('/x.ndjson'), Parquet ('/y.parquet')"
    )


def test_what_text_matches_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no Parquet, CSV or JSON lines file matches"):
        find_files("shop", str(tmp_path / "*.csv"), text=True)


@pytest.mark.parametrize("entry", ["c.parquet", "*.csv", "empty", "nosuch/**/*.parquet", "day=2/.x", "empty/*"])
def test_nothing_matches(tree: Path, entry: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find_files("shop", str(tree / entry))
    assert caught.value.code == "input-no-files"
    assert "'shop'" in caught.value.message
    assert repr(str(tree / entry)) in caught.value.message


def test_all_that_match_nothing_are_named(tree: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        find_files("shop", (str(tree / "x1"), str(tree / "a.parquet"), str(tree / "x2*")))
    assert "x1" in caught.value.message
    assert "x2*" in caught.value.message
    assert "a.parquet" not in caught.value.message


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("log/a.parquet", {}),
        ("log/day=2026-01-01/a.parquet", {"day": "2026-01-01"}),
        ("y=1/m=2/z=3.parquet", {"y": "1", "m": "2"}),
        ("c=a%20b%2Fc%C3%A9/x", {"c": "a b/cé"}),
        ("c=1/c=2/x", {"c": "2"}),
        ("q=a=b/x", {"q": "a=b"}),
        ("=a/b=/x", {"b": ""}),
        ("d=__HIVE_DEFAULT_PARTITION__/x", {"d": None}),
    ],
)
def test_hive_values(path: str, expected: dict[str, str | None]) -> None:
    assert hive_values(Path(path)) == expected
