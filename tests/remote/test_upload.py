from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from engine.errors import ConfigError, IntegrityError, TransientError
from engine.remote.upload import check_writable, manifest_content, upload
from engine.tables.durable import durable_json, durable_parquet
from engine.tables.layout import SUCCESS, manifest_path, table_folder
from engine.tables.manifest import (
    Manifest,
    dtypes_of,
    manifest_from_json,
    manifest_to_json,
    read_manifest,
    table_record,
)
from tests.remote.conftest import Bucket
from tests.remote.proxy import Fault

DAY = date(2026, 3, 1)
TABLES = ("segments", "scores")
MANIFEST = f"out/_manifests/as_of={DAY}.json"


def published(out: Path, run: str, rows: int = 100) -> Manifest:
    """A small output root with tables of one date."""
    tables = []
    for name, folder in (("segments", "segment=all"), ("scores", ""), ("drift", "")):
        frame = pl.DataFrame({"user_id": range(rows), "run": [f"{name} {run}"] * rows})
        file = durable_parquet(frame, table_folder(out, name, DAY) / folder, f"part-00000-{run}", root=out)
        tables.append(table_record(name, DAY, dtypes_of(frame.schema), [file]))
    manifest = Manifest(run, DAY, None, {}, {}, tuple(tables))
    durable_json(manifest_to_json(manifest), manifest_path(out, DAY))
    return manifest


def seen(bucket: Bucket) -> dict[str, list[str]]:
    """The runs in the tables, as a reader sees them who follows the manifest."""
    manifest = manifest_from_json(bucket.read(MANIFEST), "the manifest")
    found = {}
    for table in manifest.tables:
        frames = [pl.read_parquet(bucket.read(f"out/{record.path}")) for record in table.records]
        assert sum(frame.height for frame in frames) == table.rows
        found[table.name] = sorted({run for frame in frames for run in frame["run"]})
    return found


def url_of(bucket: Bucket) -> str:
    return f"{bucket.url}/out"


def test_what_is_uploaded_is_what_is_published(bucket: Bucket, tmp_path: Path) -> None:
    manifest = published(tmp_path, "r1")
    assert upload(tmp_path, url_of(bucket), DAY, TABLES)
    assert seen(bucket) == {"segments": ["segments r1"], "scores": ["scores r1"]}
    expected = {f"out/{record.path}" for table in manifest.tables for record in table.records if table.name in TABLES}
    expected |= {f"out/{name}/as_of={DAY}/{SUCCESS}" for name in TABLES}
    assert bucket.objects().keys() == expected | {MANIFEST}
    kept = replace(manifest, tables=tuple(table for table in manifest.tables if table.name in TABLES))
    assert bucket.read(MANIFEST) == manifest_content(kept)


def test_an_upload_again_asks_and_writes_nothing(bucket: Bucket, tmp_path: Path) -> None:
    published(tmp_path, "r1")
    upload(tmp_path, url_of(bucket), DAY, TABLES)
    bucket.proxy.requests.clear()
    assert not upload(tmp_path, url_of(bucket), DAY, TABLES)
    assert {method for method, _ in bucket.proxy.requests} <= {"HEAD", "GET"}


def test_the_manifest_comes_after_the_files(bucket: Bucket, tmp_path: Path) -> None:
    published(tmp_path, "r1")
    upload(tmp_path, url_of(bucket), DAY, TABLES)
    written = [path for method, path in bucket.proxy.requests if method == "PUT"]
    at = next(place for place, path in enumerate(written) if "_manifests" in path)
    assert all(".parquet" in path for path in written[:at])
    assert all(SUCCESS in path for path in written[at + 1 :])


def test_a_new_run_leaves_the_files_of_the_old_one_to_its_readers(bucket: Bucket, tmp_path: Path) -> None:
    published(tmp_path / "a", "r1")
    upload(tmp_path / "a", url_of(bucket), DAY, TABLES)
    before = {key for key in bucket.objects() if key.endswith(".parquet")}
    published(tmp_path / "b", "r2", rows=50)
    assert upload(tmp_path / "b", url_of(bucket), DAY, TABLES)
    assert seen(bucket) == {"segments": ["segments r2"], "scores": ["scores r2"]}
    assert before < {key for key in bucket.objects() if key.endswith(".parquet")}


@pytest.mark.parametrize("kind", ["503", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("reset", "cut"))])
@pytest.mark.parametrize("method", ["PUT", "POST", "HEAD", "GET"])
def test_faults_that_end_are_not_seen(bucket: Bucket, tmp_path: Path, kind: str, method: str) -> None:
    published(tmp_path, "r1")
    bucket.proxy.faults += [Fault(kind, "", method, times=2)]
    assert upload(tmp_path, url_of(bucket), DAY, TABLES)
    assert seen(bucket) == {"segments": ["segments r1"], "scores": ["scores r1"]}


@pytest.mark.parametrize("where", ["scores", "segments", "_manifests"])
def test_an_upload_that_fails_is_named_by_no_manifest_and_goes_on_later(
    bucket: Bucket, tmp_path: Path, where: str
) -> None:
    published(tmp_path / "a", "r1")
    upload(tmp_path / "a", url_of(bucket), DAY, TABLES)
    published(tmp_path / "b", "r2", rows=50)
    bucket.proxy.faults += [Fault("503", f"/out/{where}", method) for method in ("PUT", "POST")]
    with pytest.raises(TransientError, match="after 3 attempts") as caught:
        upload(tmp_path / "b", url_of(bucket), DAY, TABLES)
    assert caught.value.exit_code == 75
    assert f"{url_of(bucket)}/{where}" in caught.value.message
    assert seen(bucket) == {"segments": ["segments r1"], "scores": ["scores r1"]}
    bucket.proxy.faults.clear()
    assert upload(tmp_path / "b", url_of(bucket), DAY, TABLES)
    assert seen(bucket) == {"segments": ["segments r2"], "scores": ["scores r2"]}


def test_an_upload_that_ends_after_the_manifest_is_finished_later(bucket: Bucket, tmp_path: Path) -> None:
    published(tmp_path, "r1")
    bucket.proxy.faults += [Fault("503", f"/{SUCCESS}", method) for method in ("PUT", "POST")]
    with pytest.raises(TransientError):
        upload(tmp_path, url_of(bucket), DAY, TABLES)
    assert seen(bucket) == {"segments": ["segments r1"], "scores": ["scores r1"]}
    bucket.proxy.faults.clear()
    assert not upload(tmp_path, url_of(bucket), DAY, TABLES)
    assert {f"out/{name}/as_of={DAY}/{SUCCESS}" for name in TABLES} < bucket.objects().keys()


def test_a_part_of_a_file_is_written_again(bucket: Bucket, tmp_path: Path) -> None:
    manifest = published(tmp_path, "r1")
    [record] = manifest.tables[0].records
    bucket.put(f"out/{record.path}", (tmp_path / record.path).read_bytes()[:-7])
    upload(tmp_path, url_of(bucket), DAY, TABLES)
    assert bucket.objects()[f"out/{record.path}"] == record.bytes


def test_damaged_files_are_not_uploaded(bucket: Bucket, tmp_path: Path) -> None:
    manifest = published(tmp_path, "r1")
    [record] = manifest.tables[0].records
    content = bytearray((tmp_path / record.path).read_bytes())
    content[50] ^= 1
    (tmp_path / record.path).write_bytes(content)
    with pytest.raises(IntegrityError) as caught:
        upload(tmp_path, url_of(bucket), DAY, TABLES)
    assert caught.value.code == "upload-changed"
    assert f"out/{record.path}" not in bucket.objects()
    assert MANIFEST not in bucket.objects()


def test_stores_that_cannot_be_used_are_told_before(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    check_writable(url_of(bucket))
    with pytest.raises(ConfigError) as caught:
        check_writable("s3://nosuch-bucket/out")
    assert caught.value.code == "remote-not-found"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(TransientError):
        check_writable(url_of(bucket))


def test_the_manifest_is_that_of_the_local_root(bucket: Bucket, tmp_path: Path) -> None:
    published(tmp_path, "r1")
    upload(tmp_path, url_of(bucket), DAY, ("segments", "scores", "drift"))
    assert manifest_from_json(bucket.read(MANIFEST), "the manifest") == read_manifest(manifest_path(tmp_path, DAY))
