from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import ConfigError, TransientError
from engine.events.files import find_files, locate_files
from engine.remote.address import RemoteFile, is_remote, split
from tests.remote.conftest import Bucket
from tests.remote.proxy import Fault

FILES = [
    "a.parquet",
    "b.PARQUET",
    "notes.txt",
    "day=2026-01-01/a.parquet",
    "day=2026-01-02/a.parquet",
    "day=2026-01-02/_old/a.parquet",
    "day=2026-01-02/.hidden.parquet",
    "_staging/a.parquet",
    "_staging/deep/b.parquet",
    "other/é ü/[x].parquet",
    "csv/a.csv",
    "csv/b.csv.gz",
    "csv/.c.csv",
    "jsonl/a.jsonl",
]
GLOBS = [
    "",
    "a.parquet",
    "nosuch",
    "nosuch/*.parquet",
    "*.parquet",
    "*.txt",
    "?.parquet",
    "[ab].parquet",
    "[!b].parquet",
    "day=*",
    "day=*/*.parquet",
    "day=2026-01-0[2-9]/*",
    "**/*.parquet",
    "**/a.parquet",
    "*/**/a.parquet",
    "_*/*.parquet",
    "_staging",
    "_staging/**",
    "day=2026-01-02/_old/*.parquet",
    "day=2026-01-02/.*.parquet",
    "other/*",
    "other/é ü/*.parquet",
    "csv",
    "csv/*.csv",
    "csv/*",
    "jsonl",
    "*",
]


def below(base: str, files: tuple[Path | RemoteFile, ...]) -> list[str]:
    return sorted(str(file).removeprefix(base).lstrip("/") for file in files)


def outcome(base: str, entry: str) -> object:
    try:
        return below(base, locate_files("log", f"{base}/{entry}" if entry else base, text=True))
    except ConfigError as error:
        return error.code


@pytest.mark.slow
def test_paths_stand_for_the_same_files_as_local_ones(bucket: Bucket, tmp_path: Path) -> None:
    log = tmp_path / "log"
    for name in FILES:
        (log / name).parent.mkdir(parents=True, exist_ok=True)
        (log / name).write_bytes(b"x")
        bucket.put(f"log/{name}", b"x")
    expected = {entry: outcome(str(log), entry) for entry in GLOBS}
    assert {entry: outcome(f"{bucket.url}/log", entry) for entry in GLOBS} == expected
    assert expected["**/*.parquet"] != "input-no-files"
    # The bucket itself is a folder like any other.
    assert below(bucket.url, locate_files("log", bucket.url)) == [f"log/{name}" for name in expected[""]]  # type: ignore[attr-defined]


@pytest.mark.slow
def test_listings_of_more_than_a_page(bucket: Bucket) -> None:
    import boto3

    client = boto3.client("s3", endpoint_url=bucket.proxy.endpoint, region_name="eu-west-1")
    for number in range(1_100):
        client.put_object(Bucket=bucket.name, Key=f"log/{number:04d}.parquet", Body=b"x")
    bucket.proxy.requests.clear()
    assert len(locate_files("log", f"{bucket.url}/log/*.parquet")) == 1_100
    assert len(bucket.proxy.requests) <= 4


def test_local_and_remote_files_side_by_side(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "z.parquet").write_bytes(b"xyz")
    url = bucket.put("a.parquet", b"x")
    found = locate_files("log", (url, str(tmp_path / "*.parquet"), f"{bucket.url}/*"))
    assert [str(file) for file in found] == [str(tmp_path / "z.parquet"), url]
    bucket.put("b.csv", b"x")
    with pytest.raises(ConfigError) as caught:
        locate_files("log", (str(tmp_path), f"{bucket.url}/b.csv"), text=True)
    assert caught.value.code == "input-mixed-kinds"
    with pytest.raises(ConfigError) as caught:
        locate_files("log", f"{bucket.url}/b.csv")
    assert caught.value.code == "input-not-parquet"


def test_sizes_and_times_are_those_of_the_store(bucket: Bucket) -> None:
    url = bucket.put("a.parquet", b"12345")
    [first] = locate_files("log", url)
    assert isinstance(first, RemoteFile)
    info = bucket.store.get_file_info(f"{bucket.name}/a.parquet")
    assert first == RemoteFile(url, 5, info.mtime_ns)


def test_buckets_that_do_not_exist(bucket: Bucket) -> None:
    for entry in ("s3://nosuch-bucket/log/*.parquet", "s3://nosuch-bucket", "s3://nosuch-bucket/log", "s3://"):
        with pytest.raises(ConfigError) as caught:
            locate_files("log", entry)
        assert caught.value.code == "remote-not-found"
        assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("status", "code"), [("403", "remote-denied"), ("401", "remote-denied"), ("301", "remote-refused")]
)
def test_refusals_are_not_tried_again(bucket: Bucket, status: str, code: str) -> None:
    bucket.proxy.faults += [Fault(status, method=method) for method in ("GET", "HEAD")]
    with pytest.raises(ConfigError) as caught:
        locate_files("log", f"{bucket.url}/log/*.parquet")
    assert caught.value.code == code
    assert f"{bucket.url}/log/*.parquet" in caught.value.message
    assert bucket.proxy.failed[status] == 1


def test_outages_are_told_with_the_attempts(bucket: Bucket) -> None:
    bucket.put("log/a.parquet", b"x")
    bucket.proxy.faults += [Fault("503", times=2)]
    assert len(locate_files("log", f"{bucket.url}/log")) == 1
    bucket.proxy.faults[:] = [Fault("503")]
    with pytest.raises(TransientError, match="after 3 attempts") as caught:
        locate_files("log", f"{bucket.url}/log")
    assert (caught.value.code, caught.value.exit_code) == ("remote-unavailable", 75)


def test_nobody_listens(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(TransientError, match="after 3 attempts") as caught:
        locate_files("log", f"{bucket.url}/log")
    assert caught.value.code == "remote-unavailable"


def test_azure_needs_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError) as caught:
        locate_files("log", "az://container/log")
    assert caught.value.code == "remote-account"


@pytest.mark.parametrize("entry", ["abfss://c@account/x", "hdfs://host/log", "s3://bucket/log"])
def test_what_takes_local_files_only_says_so(entry: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find_files("log", entry)
    assert caught.value.code == "input-remote"


@pytest.mark.parametrize(
    ("text", "remote", "parts"),
    [
        ("s3://b/k/", True, ("s3", "b/k")),
        ("S3://b", True, ("s3", "b")),
        ("az://c/a b", True, ("az", "c/a b")),
        ("/data/s3://b", False, None),
        ("s3:/b", False, None),
        ("data/log", False, None),
        ("ftp://b/k", False, None),
    ],
)
def test_addresses(text: str, remote: bool, parts: tuple[str, str] | None) -> None:
    assert is_remote(text) is remote
    assert parts is None or split(text) == parts
