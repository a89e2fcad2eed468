from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from engine.bundle import Bundle, bundle_files, bundle_id, load_bundle
from engine.bundle_store import write_bundle
from engine.errors import ConfigError, IntegrityError
from engine.execution.local import LocalExecutor
from engine.pipeline import fit_run
from tests.samples import AS_OF, configuration, files, write_sample


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("sample"), users=60)


@pytest.fixture(scope="module")
def fitted(sample: Path) -> Path:
    config = configuration(sample, execution__rows_per_task=100_000)
    return Path(str(fit_run(config, AS_OF, executor=LocalExecutor(threads=1)).bundle))


@pytest.fixture(scope="module")
def bundle(fitted: Path) -> Bundle:
    return load_bundle(fitted)


@pytest.fixture
def written(bundle: Bundle, tmp_path: Path) -> Path:
    """A bundle of its own for tests that damage it."""
    return write_bundle(bundle, tmp_path / "staging", tmp_path / "out")


def without(bundle: Bundle) -> Bundle:
    return replace(bundle, rfm_edges=None, clustering=None, cluster_curve=(), models=(), contacts=())


@pytest.mark.parametrize("change", [lambda full: full, without])
def test_what_is_written_is_what_is_read(change: Callable[[Bundle], Bundle], bundle: Bundle, tmp_path: Path) -> None:
    original = change(bundle)
    folder = write_bundle(original, tmp_path / "staging", tmp_path / "out")
    assert load_bundle(folder) == original
    assert bundle_files(load_bundle(folder)) == {name: data.decode() for name, data in files(folder).items()}


def test_the_files_of_a_bundle_and_its_name(written: Path, bundle: Bundle) -> None:
    assert sorted(files(written)) == [
        "bundle.json",
        "clusters.json",
        "files.json",
        "targets/buys/model.json",
        "targets/buys/model.txt",
    ]
    listing = (written / "files.json").read_bytes()
    assert written.name == bundle_id(written) == hashlib.sha256(listing).hexdigest()[:12]
    for name, checksum in json.loads(listing).items():
        assert hashlib.sha256((written / name).read_bytes()).hexdigest() == checksum
    meta = json.loads((written / "bundle.json").read_text())
    assert meta["as_of"] == AS_OF.isoformat()
    assert set(meta["versions"]) == {"tamis", "polars", "lightgbm", "polars-hash"}
    assert bundle.user_dtype == "Int64"
    assert bundle.contacts == (("region", "String"),)


def test_the_same_bundle_has_the_same_bytes_in_another_place(written: Path, fitted: Path) -> None:
    assert files(written) == files(fitted)
    assert written.name == fitted.name


def damage_model(folder: Path) -> None:
    text = (folder / "targets/buys/model.txt").read_text()
    (folder / "targets/buys/model.txt").write_text(text.replace("leaf_value=", "leaf_value=9", 1))


def rename_target(folder: Path) -> None:
    (folder / "targets/buys").rename(folder / "targets/sells")


DAMAGES: list[tuple[Callable[[Path], object], str]] = [
    (damage_model, "changed: targets/buys/model.txt"),
    (rename_target, "missing: targets/buys/model.json"),
    (lambda folder: (folder / "clusters.json").unlink(), "missing: clusters.json"),
    (lambda folder: (folder / "bundle.json").write_bytes(b""), "changed: bundle.json"),
    (lambda folder: (folder / "evil.pkl").write_bytes(b"x"), "not part of it: evil.pkl"),
    (lambda folder: (folder / "targets/.hidden").write_bytes(b"x"), "not part of it: targets/.hidden"),
    (lambda folder: (folder / "files.json").write_bytes(b"{"), "files.json"),
    (lambda folder: (folder / "files.json").write_bytes(b"\xff\xfe"), "files.json"),
    (lambda folder: (folder / "files.json").write_text("[]"), "files.json"),
]


@pytest.mark.parametrize(("damage", "named"), DAMAGES)
def test_a_damaged_bundle_is_refused_with_the_file_named(
    damage: Callable[[Path], object], named: str, written: Path
) -> None:
    damage(written)
    with pytest.raises(IntegrityError) as caught:
        load_bundle(written)
    assert caught.value.code == "bundle-damaged"
    assert named in caught.value.message
    assert str(written) in caught.value.message
    assert "tamis fit" in caught.value.hint


def resigned(folder: Path, change: Callable[[dict[str, object]], object]) -> Path:
    """The bundle with its description changed and the checksums made to fit."""
    meta = json.loads((folder / "bundle.json").read_text())
    change(meta)
    (folder / "bundle.json").write_text(json.dumps(meta))
    listing = json.loads((folder / "files.json").read_text())
    listing["bundle.json"] = hashlib.sha256((folder / "bundle.json").read_bytes()).hexdigest()
    (folder / "files.json").write_text(json.dumps(listing))
    return folder


_NOTHING: dict[str, object] = {name: [] for name in ("windows", "weights", "types", "families", "columns")}


@pytest.mark.parametrize(
    ("change", "code", "named"),
    [
        ({"format": 2}, "bundle-version", "format 2, expected 1"),
        ({"versions": {"polars": "0.1.0", "lightgbm": "4.0"}}, "bundle-version", "polars 0.1.0, installed is"),
        ({"versions": {"polars": "2.0", "lightgbm": "99.1"}}, "bundle-version", "lightgbm 99.1"),
        ({"versions": {}}, "bundle-damaged", "KeyError"),
        ({"as_of": "someday"}, "bundle-damaged", "ValueError"),
        ({"spec": {}}, "bundle-damaged", "KeyError"),
        ({"spec": {**_NOTHING, "more": 1}}, "bundle-damaged", "TypeError"),
        ({"rfm_edges": {"recency": 1}}, "bundle-rfm-edges", "recency"),
        ({"targets": ["sells"]}, "bundle-damaged", "FileNotFoundError"),
    ],
)
def test_what_another_version_wrote_is_refused(change: dict[str, object], code: str, named: str, written: Path) -> None:
    with pytest.raises(IntegrityError) as caught:
        load_bundle(resigned(written, lambda meta: meta.update(change)))
    assert caught.value.code == code
    assert named in caught.value.message


def test_a_minor_version_of_a_library_may_differ(written: Path) -> None:
    def older(meta: dict[str, object]) -> None:
        meta["versions"] = {name: f"{str(text).partition('.')[0]}.0" for name, text in dict(meta["versions"]).items()}  # type: ignore[call-overload]

    assert load_bundle(resigned(written, older)).as_of == AS_OF


def test_there_is_no_bundle_where_none_was_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_bundle(tmp_path / "nowhere")
    assert caught.value.code == "bundle-missing"
    assert str(tmp_path / "nowhere") in caught.value.message


def test_the_id_of_a_bundle_is_what_is_in_it(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = bundle_id(written)
    written.rename(tmp_path / "prod")
    monkeypatch.chdir(tmp_path / "prod")
    assert bundle_id(Path()) == bundle_id(tmp_path / "prod") == before
    Path("files.json").write_bytes(Path("files.json").read_bytes() + b" ")
    assert bundle_id(Path()) != before


def test_names_outside_of_ascii_are_read_in_any_locale(bundle: Bundle, tmp_path: Path) -> None:
    original = replace(bundle, contacts=(("région", "String"),))
    folder = write_bundle(original, tmp_path / "staging", tmp_path / "out")
    assert "région".encode() in (folder / "bundle.json").read_bytes()
    code = (
        "import locale, pathlib, sys\n"
        "from engine.bundle import damages, load_bundle\n"
        "from engine.bundle_store import current_bundle\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "assert current_bundle(folder.parent.parent) == folder\n"
        "print(locale.getpreferredencoding(False), ascii(load_bundle(folder).contacts))"
    )
    done = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", code, folder],
        env={**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    encoding, _, contacts = done.stdout.strip().partition(" ")
    assert encoding.casefold() not in {"utf-8", "utf8"}
    assert contacts == ascii(original.contacts)
