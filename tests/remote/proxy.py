from __future__ import annotations

import http.client
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO


@dataclass
class Fault:
    """How the first `times` requests of a method and a path that match are answered."""

    kind: str
    path: str = ""
    method: str = "GET"
    times: int = 1_000_000


@dataclass
class Proxy:
    """A reverse proxy that fails on demand, and counts what it was asked for."""

    endpoint: str
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def fault_of(self, method: str, path: str) -> str | None:
        with self.guard:
            self.requests.append((method, path))
            for fault in self.faults:
                if fault.times > 0 and fault.method == method and re.search(fault.path, path):
                    fault.times -= 1
                    self.failed[fault.kind] += 1
                    return fault.kind
        return None

    def asked(self, method: str, path: str) -> int:
        return sum(1 for other, name in self.requests if other == method and re.search(path, name))


@contextmanager
def proxy_before(port: int) -> Iterator[Proxy]:  # noqa: C901 - a handler in a function
    """A proxy before the server on a port of the loopback interface."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def _answer(self) -> None:
            body = _body(self.rfile, self.headers)
            kind = proxy.fault_of(self.command, self.path)
            if kind == "reset":
                # Closed without a goodbye: the peer gets a reset.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()
                return
            if kind == "slow":
                time.sleep(3)
                self.close_connection = True
                return
            if kind is not None and kind.isdigit():
                self._send(int(kind), {}, b"")
                return
            upstream = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            given = {name: value for name, value in self.headers.items() if name.lower() not in _OF_ONE_HOP}
            upstream.request(self.command, self.path, body, given)
            answer = upstream.getresponse()
            content = answer.read()
            headers = {name: value for name, value in answer.getheaders() if name.lower() not in _OF_ONE_HOP}
            upstream.close()
            self._send(answer.status, headers, content, kind)

        def _send(self, status: int, headers: dict[str, str], content: bytes, kind: str | None = None) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() != "content-length":
                    self.send_header(name, value)
            sent = content[: len(content) // 2] if kind in {"cut", "short"} else content
            told = len(sent) if kind == "short" else len(content)
            if self.command == "HEAD":
                told = int({name.lower(): value for name, value in headers.items()}.get("content-length", 0))
            self.send_header("Content-Length", str(told))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(sent)
            if kind == "cut":
                self.close_connection = True

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except (ConnectionError, ValueError, OSError):
                self.close_connection = True

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None: ...

    server = Server(("127.0.0.1", 0), Handler)
    proxy = Proxy(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


_OF_ONE_HOP = {"connection", "transfer-encoding", "keep-alive", "expect"}


def _body(stream: BinaryIO, headers: Message) -> bytes:
    if headers.get("Transfer-Encoding", "").lower() != "chunked":
        return stream.read(int(headers.get("Content-Length") or 0))
    body = b""
    while length := int(stream.readline().split(b";")[0], 16):
        body += stream.read(length)
        stream.readline()
    while stream.readline().strip():
        pass
    return body
