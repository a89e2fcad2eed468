from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from engine.tables import effects
from tests.sources import nodes_of

ROOT = Path(__file__).parents[2]
STORE = "engine/tables/effects.py"
# Which files may change a file system by themselves, and why what they do needs no publish.
MAY = {
    "engine/check_run.py": "a check of a configuration keeps what it converts in a folder of the system, and drops it",
    "engine/doctor/watching.py": "looks for a program on the path, and changes nothing",
    "engine/remote/fetch.py": "copies of remote files: fetched again when one is missing or not whole",
    "engine/formats/iceberg.py": "Iceberg writes its own files and commits them with its own swap of a pointer",
    "engine/formats/delta.py": "Delta writes its own files and commits them with its own log",
    "engine/execution/failures.py": "a copy of the output root in a folder of the system, made of links and dropped",
    "engine/execution/ray_start.py": "the folder of a Ray that this process starts, which is gone with it",
    "engine/planning/audience.py": "a trial run in a folder of the system, made of links and dropped",
    "engine/planning/calibrate.py": "trial runs in a folder of the system, which is dropped",
    "engine/planning/generated.py": "the log of those trial runs",
    "engine/planning/recording.py": "the mark of the most memory that the system keeps for this process, set back",
    "engine/history/logs.py": "lines at the end of a log file, which other runs and logrotate share",
    "engine/exports/files.py": "addresses of people: the files are made private, which no other output is",
    "engine/consent/log.py": "text files of consents as Parquet, for as long as they are read",
    "engine/exports/consents.py": "who agreed to an export, in a folder of the system that is dropped",
    "engine/stages/permits_now.py": "who agreed as of a day, in a folder of the system that is dropped",
    "engine/warehouse/into_duckdb.py": "a database that DuckDB began and did not finish",
}
# These write into a file that `disk` has opened, or into memory.
MAY_ENCODE = {
    "engine/execution/records.py",
    "engine/tables/durable.py",
    "engine/tables/rows.py",
    "engine/rollups/parts.py",
}

CHANGES = set(
    "mkdir makedirs unlink rmdir rmtree touch write_text write_bytes symlink_to hardlink_to link symlink fsync "
    "fdatasync truncate copyfile copytree move chmod remove removedirs renames mkfifo mkstemp mkdtemp".split()
)
WRITERS = set("write_parquet write_ipc write_ndjson write_avro write_excel write_delta".split())
MODULES = {"shutil", "tempfile", "filelock"}
# Of `os` alone: frames, texts and sets have methods of these names.
OF_OS = {"rename", "replace", "remove", "open"}
OF_SETS = {"remove", "move", "link", "truncate"}


def mode_of(call: ast.Call) -> str:
    """The mode of a call of `open`, as a function or as a method of a path."""
    place = 0 if isinstance(call.func, ast.Attribute) else 1
    modes = [keyword.value for keyword in call.keywords if keyword.arg == "mode"] or call.args[place : place + 1]
    return str(modes[0].value) if modes and isinstance(modes[0], ast.Constant) else "r"


def renames(call: ast.Call) -> bool:
    """Whether `x.replace(y)` or `x.rename(y)` is that of a path: those of texts and frames take others."""
    if len(call.args) != 1 or call.keywords:
        return False
    argument = call.args[0]
    made = isinstance(argument, ast.Call) and isinstance(argument.func, ast.Name) and argument.func.id == "dict"
    return not made and not isinstance(argument, ast.Dict | ast.DictComp)


def owner_of(function: ast.expr) -> str:
    """What a method is called on; a name, nearly always, which is quicker told than any expression."""
    if not isinstance(function, ast.Attribute):
        return ""
    return function.value.id if isinstance(function.value, ast.Name) else ast.unparse(function.value)


def changes(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Calls that change a file system, and imports of modules that are made for it."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            yield from (alias.name for alias in node.names if alias.name != "Timeout")
        if not isinstance(node, ast.Call):
            continue
        owner = owner_of(node.func)
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if owner in {"disk", "effects"}:
            continue
        if (
            (name in CHANGES - OF_SETS and owner != "json")
            or (owner == "os" and name in OF_OS | OF_SETS)
            or (name == "open" and set(mode_of(node)) & set("wxa+"))
            or (owner and name in {"replace", "rename"} and renames(node))
            or name in WRITERS
            or name.startswith("sink_")
            or (name == "write_csv" and node.args)
        ):
            yield ast.unparse(node.func)


def test_only_the_store_changes_a_file_system() -> None:
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "engine").rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        done = list(changes(nodes_of(path)))
        if name in MAY_ENCODE:
            done = [call for call in done if call.rpartition(".")[2] not in WRITERS]
        if done and name != STORE and name not in MAY:
            found[name] = done
    assert found == {}
    assert all(len(reason) > 20 for reason in MAY.values())


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("path.open('wb')", ["path.open"]),
        ("open(path, mode='a')", ["open"]),
        ("open(path)", []),
        ("path.open('rb')", []),
        ("path.write_text('x')", ["path.write_text"]),
        ("os.replace(a, b)", ["os.replace"]),
        ("text.replace('a', 'b')", []),
        ("path.replace(target)", ["path.replace"]),
        ("frame.rename({'a': 'b'})", []),
        ("day.replace(day=1)", []),
        ("names.remove('a')", []),
        ("os.remove(path)", ["os.remove"]),
        ("frame.write_parquet(path)", ["frame.write_parquet"]),
        ("frame.lazy().sink_csv(path)", ["frame.lazy().sink_csv"]),
        ("frame.write_csv()", []),
        ("import shutil", ["shutil"]),
        ("from filelock import FileLock, Timeout", ["FileLock"]),
        ("disk.rename(a, b)", []),
    ],
)
def test_what_counts_as_a_change(code: str, found: list[str]) -> None:
    assert list(changes(ast.walk(ast.parse(code)))) == found


def test_what_a_folder_holds(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "a").write_text("file")
    (tmp_path / "c").symlink_to("b")
    assert effects.entries(tmp_path) == [(tmp_path / "a", False), (tmp_path / "b", True), (tmp_path / "c", False)]


def test_a_created_file_is_new(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("file")
    with pytest.raises(FileExistsError):
        effects.create(tmp_path / "a")
    assert (tmp_path / "a").read_text() == "file"
