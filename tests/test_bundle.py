from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from engine import bundle as bundle_module
from engine.bundle import Bundle, bundle_files, current_bundle, load_bundle, write_bundle
from engine.config import Config
from engine.errors import ConfigError, IntegrityError
from engine.execution.local import LocalExecutor
from engine.pipeline import fit_run, run, score_run
from engine.tables.layout import bundles_folder
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
    assert current_bundle(tmp_path / "out") == folder
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
    assert written.name == hashlib.sha256(listing).hexdigest()[:12]
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


def test_writing_a_bundle_again_keeps_its_files_and_makes_it_current(bundle: Bundle, written: Path) -> None:
    out = written.parent.parent
    before = {path: path.stat().st_mtime_ns for path in written.rglob("*")}
    other = write_bundle(replace(bundle, engagement_full_at=99), out.parent / "other", out)
    assert other != written
    assert current_bundle(out) == other
    assert write_bundle(bundle, out.parent / "again", out) == written
    assert current_bundle(out) == written
    assert {path: path.stat().st_mtime_ns for path in written.rglob("*")} == before


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


@pytest.mark.parametrize(("damage", "named"), DAMAGES)
def test_fit_puts_a_whole_bundle_in_the_place_of_a_damaged_one(
    damage: Callable[[Path], object], named: str, written: Path, bundle: Bundle
) -> None:
    damage(written)
    out = written.parent.parent
    assert write_bundle(bundle, out.parent / "again", out) == written
    assert load_bundle(written) == bundle
    assert [path.name for path in bundles_folder(out).iterdir() if path.is_dir()] == [written.name]


def resigned(folder: Path, change: Callable[[dict[str, object]], object]) -> Path:
    """The bundle with its description changed and the checksums made to fit."""
    meta = json.loads((folder / "bundle.json").read_text())
    change(meta)
    (folder / "bundle.json").write_text(json.dumps(meta))
    listing = json.loads((folder / "files.json").read_text())
    listing["bundle.json"] = hashlib.sha256((folder / "bundle.json").read_bytes()).hexdigest()
    (folder / "files.json").write_text(json.dumps(listing))
    return folder


@pytest.mark.parametrize(
    ("change", "code", "named"),
    [
        ({"format": 2}, "bundle-version", "format 2, expected 1"),
        ({"versions": {"polars": "0.1.0", "lightgbm": "4.0"}}, "bundle-version", "polars 0.1.0, installed is"),
        ({"versions": {"polars": "2.0", "lightgbm": "99.1"}}, "bundle-version", "lightgbm 99.1"),
        ({"versions": {}}, "bundle-damaged", "KeyError"),
        ({"as_of": "someday"}, "bundle-damaged", "ValueError"),
        ({"spec": {}}, "bundle-damaged", "KeyError"),
        ({"spec": {"windows": [], "weights": [], "types": [], "more": 1}}, "bundle-damaged", "TypeError"),
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
    assert current_bundle(tmp_path) is None
    with pytest.raises(ConfigError) as caught:
        load_bundle(tmp_path / "nowhere")
    assert caught.value.code == "bundle-missing"
    assert str(tmp_path / "nowhere") in caught.value.message


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'"x"', b"\xff", b'{"bundle": '])
def test_a_damaged_pointer_is_refused(content: bytes, written: Path) -> None:
    pointer = written.parent / "current"
    pointer.write_bytes(content)
    with pytest.raises(IntegrityError) as caught:
        current_bundle(written.parent.parent)
    assert caught.value.code == "bundle-pointer"
    assert str(pointer) in caught.value.message


@pytest.mark.parametrize(
    ("step", "after"), [("durable_text", 0), ("durable_text", 1), ("disk.rename", 0), ("durable_json", 0)]
)
def test_a_write_that_is_cut_short_leaves_the_bundle_before_it_current(
    step: str, after: int, bundle: Bundle, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = written.parent.parent
    module = bundle_module.disk if "." in step else bundle_module
    name = step.rpartition(".")[2]
    real, calls = getattr(module, name), []

    def stop(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) > after:
            raise KeyboardInterrupt
        return real(*arguments)

    newer = replace(bundle, engagement_full_at=99)
    with monkeypatch.context() as patched:
        patched.setattr(module, name, stop)
        with pytest.raises(KeyboardInterrupt):
            write_bundle(newer, out.parent / "cut", out)
    assert current_bundle(out) == written
    assert load_bundle(written) == bundle
    for folder in bundles_folder(out).iterdir():
        if folder.is_dir():
            load_bundle(folder)
    again = write_bundle(newer, out.parent / "again", out)
    assert current_bundle(out) == again
    assert load_bundle(again) == newer


EXECUTOR = LocalExecutor(threads=1)


@pytest.mark.parametrize(
    ("changes", "sections"),
    [
        ({"seed": 2}, "seed differ"),
        ({"timezone": "Europe/Paris"}, "timezone differ"),
        ({"features__windows": [7, 14]}, "features differ"),
        ({"targets__buys__horizon_days": 7, "clusters__k_max": 4}, "targets, clusters differ"),
        ({"sources__shop__columns__amount": {"value": 1}}, "sources differ"),
        (
            {"rfm__segment_map": "rfm_11", "engagement__window_days": 7, "model__trees": 9},
            "engagement, rfm, model differ",
        ),
        ({"contacts__model_columns": []}, "contacts differ"),
    ],
)
def test_a_bundle_of_another_configuration_is_refused_with_the_sections_named(
    changes: dict[str, object], sections: str, sample: Path, fitted: Path, tmp_path: Path
) -> None:
    config = configuration(sample, out=str(tmp_path / "out"), **changes)
    with pytest.raises(ConfigError) as caught:
        score_run(config, AS_OF, executor=EXECUTOR, bundle=fitted)
    assert caught.value.code == "bundle-other-configuration"
    assert sections in caught.value.message
    assert str(fitted) in caught.value.message
    assert not (tmp_path / "out").exists()


def test_a_bundle_of_a_later_day_is_refused(sample: Path, fitted: Path, tmp_path: Path) -> None:
    config = configuration(sample, out=str(tmp_path / "out"))
    with pytest.raises(ConfigError) as caught:
        score_run(config, AS_OF - timedelta(days=1), executor=EXECUTOR, bundle=fitted)
    assert caught.value.code == "bundle-later"
    assert str(AS_OF) in caught.value.message
    assert not (tmp_path / "out").exists()


def test_scoring_without_a_bundle_says_that_nothing_was_fitted(sample: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        score_run(configuration(sample, out=str(tmp_path / "out")), AS_OF, executor=EXECUTOR)
    assert caught.value.code == "bundle-missing"
    assert not (tmp_path / "out").exists()


def test_run_fits_when_it_has_to_and_only_then(sample: Path, tmp_path: Path) -> None:
    columns = {"user_id": "customer", "event_type": {"value": "purchase"}, "event_time": "at", "amount": "total"}
    source = {"name": "shop", "path": str(sample.parent / "shop"), "columns": columns}
    usual = {"out": str(tmp_path / "out"), "sources": (source,), "refit_after_days": 3, "clusters": {"enabled": False}}

    def bundle_of(as_of: date, **changes: object) -> str:
        config = Config.model_validate({**usual, **changes})
        return Path(str(run(config, as_of, executor=EXECUTOR).bundle)).name

    first = bundle_of(AS_OF, segment_fallback="all")
    assert bundle_of(AS_OF + timedelta(days=2), segment_fallback="others") == first
    later = bundle_of(AS_OF + timedelta(days=3), segment_fallback="all")
    assert later != first
    assert bundle_of(AS_OF, segment_fallback="all") == first
    assert bundle_of(AS_OF, segment_fallback="all", seed=2) not in {first, later}
