"""TLS with a certificate that is not trusted, and one that SSL_CERT_FILE names, in sync and async."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from llmcore.errors import ProviderError, Unavailable
from llmcore.types import ChatRequest, Secret
from llmcore_openai_optimized.plugin import OpenAIOptions
from llmcore_openai_optimized.provider import OpenAIProvider

REQUEST = ChatRequest(model="m", messages=[{"role": "user", "content": "q"}], timeout_s=20, idle_s=20)
ANSWER = json.dumps(
    {"model": "m", "choices": [{"message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]}
)


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER.encode())

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    key, file = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
               "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(file)]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return key, file


@pytest.fixture(scope="module")
def port(certificate: tuple[Path, Path]) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate[1], certificate[0])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients hang up on purpose
    server.socket = context.wrap_socket(server.socket, server_side=True)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "all_proxy", "ssl_cert_file", "ssl_cert_dir"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(params=["complete", "acomplete"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def ask(way: str, url: str) -> str:
    provider = OpenAIProvider(OpenAIOptions(api_key=Secret("sk-test-key"), base_url=url))
    try:
        if way == "complete":
            return provider.complete(REQUEST).text
        return asyncio.run(provider.acomplete(REQUEST)).text
    finally:
        provider.close()


def catch_error(way: str, url: str) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        ask(way, url)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


def test_a_certificate_that_is_not_trusted_names_the_variable(way: str, port: int) -> None:
    error = catch_error(way, f"https://localhost:{port}/v1")
    assert type(error) is Unavailable
    assert "SSL_CERT_FILE" in str(error)
    assert not error.sent


def test_a_certificate_in_ssl_cert_file_is_trusted(
    way: str, port: int, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[1]))
    assert ask(way, f"https://localhost:{port}/v1") == "hi"
    assert type(catch_error(way, f"https://127.0.0.1:{port}/v1")) is Unavailable, "the name must fit"


def test_a_plain_request_to_a_tls_port_fails_alike(way: str, port: int) -> None:
    error = catch_error(way, f"http://localhost:{port}/v1")
    assert type(error) is Unavailable
    assert error.sent
