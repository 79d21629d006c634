"""One table of network faults, in the blocking and in the asynchronous transport, with one class each."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from llmcore.errors import (
    ConfigError,
    IncompleteReply,
    LLMCoreError,
    MalformedReply,
    ProviderError,
    Unavailable,
)
from llmcore.types import ChatRequest, Secret
from llmcore_openai_optimized.plugin import OpenAIOptions
from llmcore_openai_optimized.provider import OpenAIProvider

ANSWER = json.dumps(
    {"model": "m", "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]}
).encode()  # fmt: skip
REQUEST = ChatRequest(model="m", messages=[{"role": "user", "content": "q"}], timeout_s=20, idle_s=20)
WAYS = ["complete", "acomplete", "stream", "astream"]
VARIABLES = ["http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir"]


def answer(headers: bytes = b"", body: bytes = ANSWER, line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return (
        line
        + b"\r\ncontent-type: application/json\r\n"
        + headers
        + b"content-length: %d\r\n\r\n" % len(body)
        + body
    )


class Server:
    """Reads requests on loopback and answers each by `act(connection, head)`; a false result ends the connection."""

    def __init__(self, act: Callable[[socket.socket, bytes], object], host: str = "127.0.0.1") -> None:
        self.act = act
        self.heads: list[bytes] = []
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.create_server((host, 0), family=family)
        self.port: int = self.socket.getsockname()[1]
        self.address = f"{f'[{host}]' if ':' in host else host}:{self.port}"
        self.url = f"http://{self.address}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            data = b""
            while True:
                while b"\r\n\r\n" not in data:
                    if not (piece := connection.recv(65536)):
                        return
                    data += piece
                head, _, data = data.partition(b"\r\n\r\n")
                lengths = [
                    line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")
                ]
                size = int(lengths[0].split(b":")[1]) if lengths else 0
                while len(data) < size:
                    data += connection.recv(65536)
                data = data[size:]
                self.heads.append(head)
                if not self.act(connection, head):
                    return


def answer_once(raw: bytes) -> Callable[[socket.socket, bytes], object]:
    """Answer *raw*, and close the connection."""
    return lambda connection, _: connection.sendall(raw)


def answer_and_keep(connection: socket.socket, _: bytes) -> bool:
    """Answer, and keep the connection."""
    connection.sendall(answer())
    return True


def reset(connection: socket.socket, _: bytes) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def make(*given: Any, **named: Any) -> Server:
        made.append(Server(*given, **named))
        return made[-1]

    yield make
    for server in made:
        with suppress(OSError):
            server.socket.shutdown(socket.SHUT_RDWR)  # wakes its thread; close alone does not
        server.socket.close()


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def ask(url: str, way: str, **options: Any) -> str:
    provider = OpenAIProvider(OpenAIOptions(**{"api_key": Secret("sk-test-key"), "base_url": url, **options}))

    async def drain() -> str:
        return "".join([delta.text async for delta in provider.astream(REQUEST)])

    async def whole() -> str:
        return (await provider.acomplete(REQUEST)).text

    try:
        match way:
            case "complete":
                return provider.complete(REQUEST).text
            case "stream":
                return "".join(delta.text for delta in provider.stream(REQUEST))
            case _:
                return asyncio.run(whole() if way == "acomplete" else drain())
    finally:
        provider.close()


def catch_error(url: str, way: str, **options: Any) -> LLMCoreError:
    with pytest.raises(LLMCoreError) as caught:
        ask(url, way, **options)
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    assert "sk-test-key" not in str(error)
    return error


@pytest.mark.parametrize(
    "raw",
    [
        answer(b"x-a: " + b"a" * 60_000 + b"\r\n"),
        answer(b"x-a: " + b"a" * 100_000 + b"\r\n"),
        answer(b"".join(b"x-%d: a\r\n" % number for number in range(300))),
        answer(line=b"HTTP/1.1 200"),
        answer("x-a: ü\r\n".encode()),
        answer().replace(b"\r\n", b"\n"),
        b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + answer(),
        b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n" + ANSWER,
    ],
    ids=["60 KB", "100 KB", "300 headers", "no reason", "utf-8", "bare LF", "early hints", "HTTP/1.0"],
)
def test_an_odd_head_is_read(serve: Callable[..., Server], way: str, raw: bytes) -> None:
    assert ask(serve(answer_once(raw)).url, way) == "hi"


@pytest.mark.parametrize(
    ("raw", "kind", "words"),
    [
        (answer(b"x-a: " + b"a" * 250_000 + b"\r\n"), MalformedReply, "headers that are too large"),
        (
            answer(b"".join(b"x-%d: %s\r\n" % (number, b"a" * 1000) for number in range(250))),
            MalformedReply,
            "headers that are too large",
        ),
        (b"\x15\x03\x01\x00\x02\x02\x46", MalformedReply, "https://"),
        (b"hello world\r\n\r\n", MalformedReply, "did not answer with HTTP"),
        (answer(b"x-\xfc: a\r\n"), MalformedReply, "did not answer with HTTP"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", MalformedReply, "an empty body"),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", MalformedReply, "status 304"),
        (answer(b"content-encoding: gzip\r\n"), MalformedReply, "cannot be decompressed"),
        (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}",
         IncompleteReply, "broke inside"),
        (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 999\r\n\r\n{}",
         IncompleteReply, "broke inside"),
        (b"HTTP/1.1 200 OK\r\ncontent-type: app", Unavailable, "cannot be reached"),
        (b"", Unavailable, "cannot be reached"),
    ],
    ids=["250 KB", "250 headers of 1 KB", "TLS", "no HTTP", "bad name", "204", "304", "gzip", "chunk", "cut", "head cut",
         "nothing"],
)  # fmt: skip
def test_a_broken_answer_has_one_class(
    serve: Callable[..., Server], way: str, raw: bytes, kind: type[ProviderError], words: str
) -> None:
    server = serve(answer_once(raw))
    error = catch_error(server.url, way)
    assert type(error) is kind
    assert words in str(error)
    assert error.sent
    assert len(server.heads) == 1, "what may have been billed is not sent again"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:1/v1", "base_url"),
        ("http://no-such-host.invalid/v1", "host is unknown"),
        ("http://bücher.invalid/v1", "host is unknown"),
    ],
    ids=["refused", "DNS", "IDNA"],
)
def test_without_a_connection_nothing_is_marked_as_sent(way: str, url: str, words: str) -> None:
    error = catch_error(url, way)
    assert type(error) is Unavailable
    assert not error.sent
    assert words in str(error)


def test_a_reset_in_place_of_an_answer_counts_as_sent(serve: Callable[..., Server], way: str) -> None:
    server = serve(reset)
    error = catch_error(server.url, way)
    assert (type(error), isinstance(error, ProviderError) and error.sent) == (Unavailable, True)
    assert len(server.heads) == 1


def test_tls_to_a_plain_port_says_so(way: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def refuse() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = plain.accept()
                    with connection:
                        connection.recv(65536)
                        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=refuse, daemon=True).start()
        error = catch_error(f"https://127.0.0.1:{plain.getsockname()[1]}/v1", way)
    assert type(error) is Unavailable
    assert "does not use TLS" in str(error)
    assert not error.sent


def test_an_ipv6_address_is_reached(serve: Callable[..., Server], way: str) -> None:
    try:
        server = serve(answer_once(answer()), host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    assert ask(server.url, way) == "hi"


# -- idle connections


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("variant", ["sync", "async", "busy loop"])
def test_a_connection_that_the_server_has_closed_is_not_used_again(
    serve: Callable[..., Server], end: str, variant: str
) -> None:
    gone = threading.Event()

    def act(connection: socket.socket, head: bytes) -> None:
        connection.sendall(answer())
        if end == "reset":
            reset(connection, head)
        connection.close()
        gone.set()

    server = serve(act)
    provider = OpenAIProvider(OpenAIOptions(api_key=Secret("k"), base_url=server.url))

    async def ask_often() -> None:
        for _ in range(5):
            assert (await provider.acomplete(REQUEST)).text == "hi"
            if variant == "async":
                assert await asyncio.to_thread(gone.wait, 60)
            assert gone.wait(60)  # a busy event loop does not notice that the connection has ended
            time.sleep(0.02)  # noqa: ASYNC251 - a loop that is busy with something else is what is tried
            gone.clear()

    if variant == "sync":
        for _ in range(5):
            assert provider.complete(REQUEST).text == "hi"
            assert gone.wait(60)
            gone.clear()
    else:
        asyncio.run(ask_often())
    provider.close()
    assert len(server.heads) == 5


# -- proxies


def answer_as_proxy(connection: socket.socket, head: bytes) -> None:
    """Answer for the server that the request names; tunnel nothing."""
    status = b"HTTP/1.1 407 Proxy Authentication Required"
    connection.sendall(answer() if b"proxy-authorization" in head.lower() else answer(line=status, body=b""))


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_a_proxy_of_the_environment_is_used(
    serve: Callable[..., Server], way: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(answer_as_proxy)
    monkeypatch.setenv(variable, f"http://ann:secret-word@{proxy.address}")
    assert ask("http://llm.invalid/v1", way) == "hi"
    assert proxy.heads[0].startswith(b"POST http://llm.invalid/v1/chat/completions HTTP/1.1")


@pytest.mark.parametrize("url", ["http://llm.invalid/v1", "https://llm.invalid/v1"])
def test_a_proxy_that_asks_for_credentials_is_named(
    serve: Callable[..., Server], way: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(answer_as_proxy)
    monkeypatch.setenv("ALL_PROXY", f"http://{proxy.address}")
    error = catch_error(url, way)
    assert type(error) is Unavailable
    assert f"http://{proxy.address} (from ALL_PROXY)" in str(error)
    assert "407" in str(error) or "credentials" in str(error)


@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks"])
def test_a_proxy_that_is_not_there_is_named_without_its_password(
    way: str, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("socksio")
    monkeypatch.setenv("ALL_PROXY", f"{scheme}://ann:secret-word@127.0.0.1:1")
    error = catch_error("http://llm.invalid/v1", way)
    assert type(error) is Unavailable
    assert "127.0.0.1:1 (from ALL_PROXY)" in str(error)
    assert "secret-word" not in str(error)
    assert not error.sent


@pytest.mark.parametrize("listed", ["127.0.0.1", "*", "127.0.0.0/8", "localhost,127.0.0.1"])
def test_a_host_in_no_proxy_is_reached_directly(
    serve: Callable[..., Server], way: str, listed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", listed)
    assert ask(serve(answer_once(answer())).url, way) == "hi"


def test_a_socks_proxy_carries_the_request(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("socksio")
    names: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as read_timeout:

        def serve_socks() -> None:
            with suppress(OSError):
                connection, _ = read_timeout.accept()
                with connection:
                    connection.recv(64)  # version and methods
                    connection.sendall(b"\x05\x00")
                    names.append(connection.recv(256))  # the wanted host
                    connection.sendall(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
                    connection.recv(65536)
                    connection.sendall(answer(b"connection: close\r\n"))

        threading.Thread(target=serve_socks, daemon=True).start()
        monkeypatch.setenv("ALL_PROXY", f"socks5h://127.0.0.1:{read_timeout.getsockname()[1]}")
        assert ask("http://llm.invalid/v1", way) == "hi"
    assert b"llm.invalid" in names[0]


def test_a_socks_proxy_without_its_package_names_both(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)  # as if it were not installed
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    error = catch_error("http://llm.invalid/v1", way)
    assert type(error) is ConfigError
    assert "ALL_PROXY names a SOCKS proxy" in error.message
    assert "socksio" in error.message
    assert error.fix == "pip install socksio"  # a package that exists: nothing of ours is on an index


# -- certificates


def test_a_server_without_tls_needs_no_certificates(
    serve: Callable[..., Server], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/certificates.pem")
    assert ask(serve(answer_once(answer())).url, way) == "hi"
