from __future__ import annotations

import hashlib
from pathlib import Path

import polars as pl
import pytest

from engine.config_file import config_hash
from engine.errors import TamisError
from engine.execution.local import LocalExecutor
from engine.pipeline import run
from engine.remote.output import with_local_state
from engine.tables.manifest import manifest_from_json
from tests.remote.conftest import Bucket
from tests.remote.proxy import Fault
from tests.samples import AS_OF, configuration, write_sample

STATE = hashlib.sha256(b"s3://bucket/prefix").hexdigest()[:8]


@pytest.mark.parametrize(
    ("publish", "out", "expected"),
    [
        ({}, f"/conf/.tamis/{STATE}", {"format": "delta", "url": "s3://bucket/prefix"}),
        ({"format": "parquet"}, f"/conf/.tamis/{STATE}", {"format": "parquet", "url": "s3://bucket/prefix"}),
        ({"state": "/state"}, "/state", {"format": "delta", "url": "s3://bucket/prefix", "state": "/state"}),
        ({"url": "s3://other"}, f"/conf/.tamis/{STATE}", {"format": "delta", "url": "s3://other"}),
    ],
)
def test_an_address_gets_a_local_state(publish: dict[str, str], out: str, expected: dict[str, str]) -> None:
    given = {"out": "s3://bucket/prefix", "seed": 3, **({"publish": publish} if publish else {})}
    assert with_local_state(given, Path("/conf")) == {"out": out, "seed": 3, "publish": expected}


@pytest.mark.parametrize("out", ["/data/out", "ftp://host/out", 7])
def test_anything_else_stays(out: object) -> None:
    assert with_local_state({"out": out, "publish": {}}, Path("/conf")) == {"out": out, "publish": {}}


def test_a_slash_at_the_end_is_the_same_output() -> None:
    first, second = (with_local_state({"out": out}, Path("/conf"))["out"] for out in ("gs://b/x", "gs://b/x/"))
    assert first == second


def test_the_configuration_file_says_where(tmp_path: Path) -> None:
    file = write_sample(tmp_path, 3)
    local, remote = configuration(file), configuration(file, out="s3://bucket/prefix")
    assert remote.out == str(tmp_path / ".tamis" / STATE)
    assert (remote.publish.format, remote.publish.url) == ("delta", "s3://bucket/prefix")
    # Where tables go changes no number.
    assert config_hash(local) == config_hash(remote)


@pytest.mark.slow
def test_a_run_ends_in_the_bucket(bucket: Bucket, tmp_path: Path) -> None:
    file = write_sample(tmp_path)
    config = configuration(file, out=f"{bucket.url}/tables", publish__format="parquet")
    local = configuration(file)
    run(local, AS_OF, executor=LocalExecutor())
    bucket.proxy.faults += [Fault("503", "", "PUT")]
    with pytest.raises(TamisError) as caught:
        run(config, AS_OF, executor=LocalExecutor())
    assert caught.value.exit_code == 75
    bucket.proxy.faults.clear()
    record = run(config, AS_OF, executor=LocalExecutor())
    assert record.counts["formats"]["url"] == f"{bucket.url}/tables"
    manifest = manifest_from_json(bucket.read(f"tables/_manifests/as_of={AS_OF}.json"), "the manifest")
    assert {table.name for table in manifest.tables} == set(config.publish.tables)
    for table in manifest.tables:
        for one in table.records:
            assert (Path(local.out) / one.path).read_bytes() == bucket.read(f"tables/{one.path}")
    [segments] = [table for table in manifest.tables if table.name == "segments"]
    assert sum(pl.read_parquet(bucket.read(f"tables/{one.path}")).height for one in segments.records) == segments.rows
    bucket.proxy.requests.clear()
    run(config, AS_OF, executor=LocalExecutor())
    assert {method for method, _ in bucket.proxy.requests} <= {"GET", "HEAD"}
