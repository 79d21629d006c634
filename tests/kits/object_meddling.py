"""A server for the S3 protocol whose answers a test can replace; it supports conditional requests and keeps objects in a dict."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Meddling = Callable[["Asked"], str | int | None]
"""Told of every request: "drop" or "drop after" close the connection, a number is the status of a refusal; 1000 more, after it."""

AFTER, FORBIDDEN = 1000, 403


Answer = tuple[int, dict[str, str], bytes]


def make_refusal(status: int, code: str = "Meddled") -> Answer:
    """Return the answer that refuses."""
    return status, {}, f"<Error><Code>{code}</Code><Message>told by the test</Message></Error>".encode()


def _leave(asked: Asked) -> None:
    """Meddle with nothing."""


class Asked(BaseHTTPRequestHandler):
    """One connection to a server of S3's protocol that holds conditions, keeps objects in a dict and can be meddled with."""

    protocol_version = "HTTP/1.1"
    server: Keeping

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self._answer(lambda: self._put(body))

    def do_GET(self) -> None:
        self._answer(self._got)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        begun = b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
        self._answer(lambda: (200, {}, begun))

    def do_DELETE(self) -> None:
        self._answer(lambda: (204, {}, str(self.server.kept.pop(self.key, "")).encode() and b""))

    do_HEAD = do_GET  # noqa: N815 - the name is the library's

    @property
    def key(self) -> str:
        return urlsplit(self.path).path

    def log_message(self, *args: Any) -> None:
        """Say nothing."""

    def _answer(self, done: Callable[[], Answer]) -> None:
        meddled = self.server.meddle(self)
        if isinstance(meddled, int) and meddled < AFTER:
            status, headers, body = make_refusal(
                meddled, "AccessDenied" if meddled == FORBIDDEN else "Meddled"
            )
        elif meddled != "drop":
            status, headers, body = done()
            if isinstance(meddled, int):
                status, headers, body = make_refusal(meddled - AFTER)
        if isinstance(meddled, str):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _put(self, body: bytes) -> Answer:
        with self.server.lock:
            there = self.server.kept.get(self.key)
            absent, match = self.headers["If-None-Match"], self.headers["If-Match"]
            if (absent and there) or (match and (there is None or there[0]["ETag"] != match)):
                return make_refusal(412, "PreconditionFailed")
            self.server.saves += 1
            kept = {
                name: value for name, value in self.headers.items() if name.lower().startswith("x-amz-meta-")
            }
            kept |= {"ETag": f'"{self.server.saves}"', "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}
            self.server.kept[self.key] = kept, body
        return 200, {"ETag": kept["ETag"]}, b""

    def _got(self) -> Answer:
        with self.server.lock:
            if "list-type" in self.path:
                return 200, {}, self._listed(parse_qs(urlsplit(self.path).query).get("prefix", [""])[0])
            if self.key not in self.server.kept:
                return make_refusal(404, "NoSuchKey")
            return 200, *self.server.kept[self.key]

    def _listed(self, prefix: str) -> bytes:
        found = "".join(
            f"<Contents><Key>{key[3:]}</Key><LastModified>2020-01-01T00:00:00.000Z</LastModified>"
            f"<Size>{len(body)}</Size><ETag>x</ETag></Contents>"
            for key, (_, body) in sorted(self.server.kept.items())
            if key.startswith(f"/b/{prefix}")
        )
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>".encode()


class Keeping(ThreadingHTTPServer):
    """The server; its bucket is "b"."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.kept: dict[str, tuple[dict[str, str], bytes]] = {}
        self.saves = 0
        self.lock = threading.Lock()
        self.meddle: Meddling = _leave

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def keeping() -> Iterator[Keeping]:
    """Run the server."""
    with Keeping() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@contextmanager
def meddled(
    server: Keeping, *answers: str | int, method: str = "PUT", ending: str = "/mine"
) -> Iterator[list[str]]:
    """Answer the first such requests so, and note all."""
    seen: list[str] = []
    left = list(answers)

    def meddle(asked: Asked) -> str | int | None:
        seen.append(f"{asked.command} {asked.key}")
        return left.pop(0) if left and asked.command == method and asked.key.endswith(ending) else None

    server.meddle = meddle
    yield seen
    server.meddle = _leave
