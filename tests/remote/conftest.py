from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engine.remote import retries
from tests.remote.proxy import Proxy, proxy_before

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "eu-west-1"}
UNSET = ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL_S3", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY")


@dataclass(frozen=True)
class Bucket:
    """A bucket of an S3 stand-in, reached through a proxy."""

    name: str
    proxy: Proxy
    store: Any

    @property
    def url(self) -> str:
        return f"s3://{self.name}"

    def put(self, key: str, content: bytes) -> str:
        with self.store.open_output_stream(f"{self.name}/{key}") as stream:
            stream.write(content)
        return f"{self.url}/{key}"

    def upload(self, path: Path, key: str = "") -> str:
        """A file, or every file below a folder."""
        if path.is_file():
            return self.put(key or path.name, path.read_bytes())
        for file in sorted(path.rglob("*")):
            if file.is_file():
                self.put(f"{key or path.name}/{file.relative_to(path).as_posix()}", file.read_bytes())
        return f"{self.url}/{key or path.name}"

    def objects(self) -> dict[str, int]:
        from pyarrow.fs import FileSelector

        infos = self.store.get_file_info(FileSelector(self.name, recursive=True))
        return {info.path.removeprefix(f"{self.name}/"): info.size for info in infos if info.is_file}

    def read(self, key: str) -> bytes:
        with self.store.open_input_stream(f"{self.name}/{key}") as stream:
            return bytes(stream.read())


@pytest.fixture(scope="session")
def s3_port() -> Iterator[int]:
    moto_server = pytest.importorskip("moto.server", reason="the S3 stand-in needs the package moto[server]")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()[1]
    server.stop()


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> retries.Limits:
    """Limits that a test can wait for."""
    limits = retries.Limits(attempts=3, first_pause=0.01, longest_pause=0.02, connect=1, request=1, total=20)
    monkeypatch.setattr(retries, "LIMITS", limits)
    return limits


@pytest.fixture
def bucket(s3_port: int, limits: retries.Limits, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An empty bucket, and the environment in which it is found."""
    from pyarrow.fs import S3FileSystem

    for name in UNSET:
        monkeypatch.delenv(name, raising=False)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    direct = S3FileSystem(
        endpoint_override=f"http://127.0.0.1:{s3_port}",
        access_key="test",
        secret_key="test",  # noqa: S106 - the stand-in takes any
        region="eu-west-1",
        allow_bucket_creation=True,
    )
    name = f"b-{uuid.uuid4().hex[:12]}"
    direct.create_dir(name)
    with proxy_before(s3_port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield Bucket(name, proxy, direct)
