from __future__ import annotations

import os
import random
import socket
import time
from pathlib import Path

import pytest

from engine.errors import ConfigError, IntegrityError, TransientError
from engine.remote import fetch
from engine.remote.address import RemoteFile
from engine.remote.fetch import at_hand, clear, fetched, fetched_as
from engine.remote.listing import list_matches
from tests.remote.conftest import Bucket
from tests.remote.proxy import Fault

CONTENT = random.Random(7).randbytes(300_000)


def listed(url: str) -> RemoteFile:
    [file] = list_matches(url, lambda _: None, text=False)
    return file


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "CHUNK_BYTES", 100_000)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("size", [0, 1, 99_999, 100_000, 100_001, 300_000])
def test_a_copy_is_the_file(bucket: Bucket, tmp_path: Path, size: int) -> None:
    file = listed(bucket.put("log/day=2026-01-01/a.parquet", CONTENT[:size]))
    with fetched([file], tmp_path / "cache") as [path]:
        assert path.read_bytes() == CONTENT[:size]
        assert (path.stat().st_size, path.stat().st_mtime_ns) == file.stamp
        assert path.parent.name == "day=2026-01-01"
        assert path.suffix == ".parquet"
    assert not path.exists()


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize(
    "kind", ["503", "500", "429", "reset", "cut", "short", pytest.param("slow", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_faults_that_end_are_not_seen(bucket: Bucket, tmp_path: Path, kind: str, method: str) -> None:
    if method == "HEAD" and kind in {"cut", "short"}:
        pytest.skip("an answer to HEAD has no body")
    file = listed(bucket.put("a.parquet", CONTENT))
    bucket.proxy.faults += [Fault(kind, r"/a\.parquet", method, times=2)]
    with fetched([file], tmp_path / "cache") as [path]:
        assert path.read_bytes() == CONTENT
    assert bucket.proxy.failed[kind] == 2


@pytest.mark.parametrize("kind", ["503", "reset", "cut", "short"])
def test_faults_that_stay_are_told_with_the_attempts(bucket: Bucket, tmp_path: Path, kind: str) -> None:
    file = listed(bucket.put("a.parquet", CONTENT))
    bucket.proxy.faults += [Fault(kind, r"/a\.parquet")]
    with pytest.raises(TransientError, match="after 3 attempts") as caught, fetched([file], tmp_path / "cache"):
        pass
    assert caught.value.code == "remote-unavailable"
    assert file.url in caught.value.message
    assert not list((tmp_path / "cache").rglob("*.parquet"))


def test_bytes_that_look_like_the_mark_are_no_fault(bucket: Bucket, tmp_path: Path) -> None:
    for mark in (0x5A, 0xA5):
        content = bytes([mark]) * 1000
        with fetched([listed(bucket.put(f"{mark}.parquet", content))], tmp_path / "cache") as [path]:
            assert path.read_bytes() == content


def test_credentials_that_may_not(bucket: Bucket, tmp_path: Path) -> None:
    file = listed(bucket.put("a.parquet", CONTENT))
    bucket.proxy.faults += [Fault("403", method="HEAD"), Fault("403")]
    with pytest.raises(ConfigError, match="access denied") as caught, fetched([file], tmp_path / "cache"):
        pass
    assert caught.value.code == "remote-denied"
    assert bucket.proxy.failed["403"] == 1


@pytest.mark.parametrize("after", [CONTENT[:-1], b"", None])
def test_a_file_that_changed_since_it_was_listed(bucket: Bucket, tmp_path: Path, after: bytes | None) -> None:
    file = listed(bucket.put("a.parquet", CONTENT))
    if after is None:
        bucket.store.delete_file(f"{bucket.name}/a.parquet")
    else:
        bucket.put("a.parquet", after)
    with pytest.raises(IntegrityError) as caught, fetched([file], tmp_path / "cache"):
        pass
    assert caught.value.code == "input-changed"
    assert file.url in caught.value.message


def test_a_file_is_fetched_once_for_several_readers(bucket: Bucket, tmp_path: Path) -> None:
    file, cache = listed(bucket.put("a.parquet", CONTENT)), tmp_path / "cache"
    with fetched([file], cache) as [first], fetched([file, file], cache) as [second, third]:
        assert first != second == third
        assert second.read_bytes() == CONTENT
    with at_hand(file.url, file.stamp, str(cache)) as again:
        assert Path(again).read_bytes() == CONTENT
    assert bucket.proxy.asked("GET", "a.parquet") == 1


def test_the_cache_is_bounded_and_readers_keep_what_they_have(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "CACHE_BYTES", 2_500)
    cache = tmp_path / "cache"
    files = [listed(bucket.put(f"{number}.parquet", bytes([number]) * 1000)) for number in range(5)]
    with fetched(files[:1], cache) as [first]:
        for file in files[1:]:
            with fetched([file], cache):
                assert sum(path.stat().st_size for path in (cache / "files").iterdir()) <= 2_500
        assert first.read_bytes() == bytes(1000)
    assert {path.name for path in (cache / "files").iterdir()} == {file.local_name() for file in files[3:]}


def test_clearing_takes_what_no_reader_holds(bucket: Bucket, tmp_path: Path) -> None:
    file, cache = listed(bucket.put("a.parquet", CONTENT)), tmp_path / "out" / "_remote"
    ended = cache / "use" / f"{socket.gethostname()}-{2**22 + 1}-0a0a0a0a0a0a"
    elsewhere = cache / "use" / "other-host-77-0a0a0a0a0a0a"
    forgotten = cache / "use" / "other-host-78-0a0a0a0a0a0a"
    for folder in (ended, elsewhere, forgotten):
        folder.mkdir(parents=True)
    os.utime(forgotten, (time.time() - 2 * 86_400,) * 2)
    with fetched([file], cache) as [path]:
        clear(cache)
        assert path.read_bytes() == CONTENT
        assert {one.name for one in (cache / "use").iterdir()} == {path.parent.name, elsewhere.name}
    elsewhere.rmdir()
    clear(cache)
    assert not (tmp_path / "out").exists()
    assert tmp_path.exists()


def test_clearing_leaves_the_output_root_alone(tmp_path: Path) -> None:
    (tmp_path / "out" / "segments").mkdir(parents=True)
    clear(tmp_path / "out" / "_remote")
    assert (tmp_path / "out" / "segments").exists()
    # One that somebody made beforehand, in which nothing was ever kept.
    (tmp_path / "empty").mkdir()
    clear(tmp_path / "empty" / "_remote")
    assert (tmp_path / "empty").exists()


def test_errors_inside_name_the_address(bucket: Bucket, tmp_path: Path) -> None:
    file = listed(bucket.put("a.parquet", CONTENT))
    local = tmp_path / "b.parquet"

    def refuse() -> None:
        with fetched_as([local, file], tmp_path / "cache") as [same, copy]:
            assert same == local
            raise ConfigError(f"no column in {copy}", code="contacts-columns")

    with pytest.raises(ConfigError) as caught:
        refuse()
    assert caught.value.message == f"no column in {file.url}"


def test_without_links_every_reader_fetches_for_itself(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    file = listed(bucket.put("a.parquet", CONTENT))
    for _ in range(2):
        with fetched([file], tmp_path / "cache") as [path]:
            assert path.read_bytes() == CONTENT
    assert bucket.proxy.asked("GET", "a.parquet") == 2
