"""The connections of blocking and asynchronous calls: when they are kept, how a response is framed, what ends a request."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmcore.errors import IncompleteReply, LLMCoreError, Timeout
from llmcore.types import ChatRequest, Secret
from llmcore_openai_optimized.plugin import OpenAIOptions
from llmcore_openai_optimized.provider import OpenAIProvider
from llmcore_openai_optimized.response import ResponseParser

BODY = json.dumps(
    {"model": "m", "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}]}
).encode()  # fmt: skip
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
WHOLE = HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY
CHUNK = b'data: {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": null}]}\n\n'

Act = Callable[[socket.socket, int], bool]
Make = Callable[[str], OpenAIProvider]
Serve = Callable[[Act], "Server"]


class Server:
    """Reads requests and answers each by `act(connection, number)`, where a false result ends the connection."""

    def __init__(self, act: Act) -> None:
        self.act = act
        self.first_reads: list[bytes] = []
        """What arrived first of each request."""
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes its thread; close alone does not
        self._socket.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while True:
                data = connection.recv(1 << 20)
                if not data:
                    return
                self.first_reads.append(data)
                head, _, body = data.partition(b"\r\n\r\n")
                size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                received = len(body)
                while received < size:
                    received += len(connection.recv(1 << 20))
                if not self.act(connection, len(self.first_reads)):
                    return


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[Server] = []

    def make(act: Act) -> Server:
        servers.append(Server(act))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def send(*parts: bytes, keep: bool = True) -> Act:
    return send_each(parts, keep=keep)


def send_each(parts: Sequence[bytes], *, keep: bool = True) -> Act:
    """Send *parts*, as they are when a request arrives."""

    def act(connection: socket.socket, _: int) -> bool:
        for part in parts:
            connection.sendall(part)
        return keep

    return act


@pytest.fixture
def make_provider() -> Iterator[Make]:
    with ExitStack() as stack:

        def make(url: str) -> OpenAIProvider:
            provider = OpenAIProvider(OpenAIOptions(api_key=Secret("sk-test-key"), base_url=url))
            return stack.enter_context(closing(provider))

        yield make


def make_request(timeout_s: float = 20, text: str = "q") -> ChatRequest:
    return ChatRequest(
        model="m", messages=[{"role": "user", "content": text}], timeout_s=timeout_s, idle_s=timeout_s
    )


def ask(provider: OpenAIProvider, variant: str, times: int = 1, timeout_s: float = 20) -> list[str]:
    request = make_request(timeout_s)

    async def ask_all() -> list[str]:
        return [(await provider.acomplete(request)).text for _ in range(times)]

    if variant == "async":
        return asyncio.run(ask_all())
    return [provider.complete(request).text for _ in range(times)]


@pytest.fixture(params=["sync", "async"])
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(
    "response",
    [
        WHOLE,
        HEAD + b"transfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\nx-trailer: a\r\n\r\n" % (len(BODY), BODY),
        HEAD + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n%s" % (len(gzip.compress(BODY)), gzip.compress(BODY)),
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + WHOLE,
    ],
    ids=["length", "chunked", "gzip", "informational"],
)  # fmt: skip
def test_a_connection_is_used_again_after_a_whole_response(
    make_provider: Make, serve: Serve, variant: str, response: bytes
) -> None:
    server = serve(send(response))
    assert ask(make_provider(server.url), variant, times=5) == ["hi"] * 5
    assert server.connections == 1


@pytest.mark.parametrize(
    ("response", "keep"),
    [
        (WHOLE.replace(b"content-type", b"connection: close\r\ncontent-type"), True),
        (WHOLE.replace(b"HTTP/1.1", b"HTTP/1.0"), True),
        (HEAD + b"\r\n" + BODY, False),
        (WHOLE + WHOLE, True),
    ],
    ids=["close", "HTTP/1.0", "until the end", "more than asked for"],
)
def test_a_connection_is_not_used_again(
    make_provider: Make, serve: Serve, variant: str, response: bytes, *, keep: bool
) -> None:
    server = serve(send(response, keep=keep))
    assert ask(make_provider(server.url), variant, times=3) == ["hi"] * 3
    assert server.connections == 3


def test_a_request_leaves_in_one_packet(make_provider: Make, serve: Serve) -> None:
    server = serve(send(WHOLE))
    ask(make_provider(server.url), "sync", times=2)
    assert all(read.endswith(b"}") for read in server.first_reads)


def test_threads_do_not_share_a_connection(make_provider: Make, serve: Serve) -> None:
    everyone = threading.Barrier(8)

    def act(connection: socket.socket, number: int) -> bool:
        if number <= 8:
            everyone.wait(60)
        return send(WHOLE)(connection, number)

    server = serve(act)
    provider = make_provider(server.url)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert list(pool.map(lambda _: ask(provider, "sync"), range(8))) == [["hi"]] * 8
    assert server.connections == 8


def test_tasks_do_not_share_a_connection(make_provider: Make, serve: Serve) -> None:
    server = serve(send(WHOLE))
    provider = make_provider(server.url)

    async def ask_together() -> None:
        for _ in range(3):
            replies = await asyncio.gather(*(provider.acomplete(make_request()) for _ in range(8)))
            assert [reply.text for reply in replies] == ["hi"] * 8

    asyncio.run(ask_together())
    assert server.connections == 8


@pytest.mark.parametrize("moment", ["head", "body"])
def test_a_cancelled_task_closes_its_connection(make_provider: Make, serve: Serve, moment: str) -> None:
    asked, ended = threading.Event(), threading.Event()

    def act(connection: socket.socket, _: int) -> bool:
        connection.sendall(WHOLE[:20] if moment == "head" else WHOLE[:-5])
        asked.set()
        connection.settimeout(60)
        with suppress(ConnectionResetError):
            connection.recv(1)
        ended.set()
        return False

    async def cancel() -> None:
        task = asyncio.create_task(make_provider(serve(act).url).acomplete(make_request()))
        assert await asyncio.to_thread(asked.wait, 60)
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(ended.wait, 60)

    asyncio.run(cancel())


@pytest.mark.slow
def test_a_body_waits_for_a_slow_reader(make_provider: Make, serve: Serve) -> None:
    """The client stops reading, so that the server can send no more than the buffers between them hold."""
    sent: list[int] = []
    count = 200_000

    def act(connection: socket.socket, _: int) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        for _ in range(count // 100):
            connection.sendall(CHUNK * 100)
            sent.append(100)
        connection.sendall(CHUNK.replace(b"null", b'"stop"') + b"data: [DONE]\n\n")
        return False

    async def read() -> int:
        received = 0
        async for delta in make_provider(serve(act).url).astream(make_request()):
            if not received:
                before, unchanged = 0, 0
                while unchanged < 10:  # looks in a row
                    await asyncio.sleep(0.05)
                    unchanged = unchanged + 1 if sum(sent) == before else 0
                    before = sum(sent)
                assert before < count
            received += len(delta.text)
        return received

    assert asyncio.run(read()) == 2 * count + 2


def test_a_stream_that_is_abandoned_closes_its_connection(make_provider: Make, serve: Serve) -> None:
    ended = threading.Event()

    def act(connection: socket.socket, _: int) -> bool:
        connection.sendall(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 99999\r\n\r\n" + CHUNK
        )
        connection.settimeout(60)
        if not connection.recv(1):
            ended.set()
        return False

    stream = make_provider(serve(act).url).stream(make_request())
    assert next(iter(stream)).text == "hi"
    stream.close()  # type: ignore[attr-defined]  # a generator
    assert ended.wait(60)


def test_close_ends_idle_connections(make_provider: Make, serve: Serve) -> None:
    server = serve(send(WHOLE))
    provider = make_provider(server.url)
    ask(provider, "sync")
    provider.close()
    assert ask(provider, "sync") == ["hi"]
    assert server.connections == 2


@pytest.mark.slow
def test_a_response_is_complete_wherever_it_is_cut(make_provider: Make, serve: Serve, variant: str) -> None:
    chunked = HEAD + b"transfer-encoding: chunked\r\n\r\n%x;note\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    parts: list[bytes] = []
    server = serve(send_each(parts))
    provider = make_provider(server.url)

    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
    @given(whole=st.sampled_from([WHOLE, chunked]), cuts=st.lists(st.integers(1, 300), max_size=6))
    def check(whole: bytes, cuts: list[int]) -> None:
        places = [0, *sorted({min(cut, len(whole)) for cut in cuts}), len(whole)]
        parts[:] = [whole[start:end] for start, end in itertools.pairwise(places)]
        assert ask(provider, variant) == ["hi"]

    check()


@pytest.mark.parametrize("size", [1_000, 64 * 1024, 1_000_000])
def test_a_head_that_is_too_large_is_refused_however_it_arrives(size: int) -> None:
    data = b"HTTP/1.1 200 OK\r\nx-a: " + b"a" * 250_000 + b"\r\n\r\n"
    response = ResponseParser()
    for start in range(0, len(data), size):
        response.feed(data[start : start + size])
    assert "too many headers" in str(response.failure)
    assert not response.has_head


@pytest.mark.parametrize("cut", [len(HEAD) + 25, len(WHOLE) - 1])
def test_a_response_that_ends_early_is_incomplete(
    make_provider: Make, serve: Serve, variant: str, cut: int
) -> None:
    server = serve(send(WHOLE[:cut], keep=False))
    with pytest.raises(IncompleteReply):
        ask(make_provider(server.url), variant)


@pytest.mark.parametrize("silent", ["head", "body"])
def test_a_silent_server_is_a_timeout(make_provider: Make, serve: Serve, variant: str, silent: str) -> None:
    def act(connection: socket.socket, _: int) -> bool:
        connection.sendall(WHOLE[:20] if silent == "head" else WHOLE[:-1])
        return bool(connection.recv(1))

    for timeout_s in (0.2, 2, 20):  # on a busy machine the first may be over before the request is sent
        with pytest.raises(Timeout) as caught:
            ask(make_provider(serve(act).url), variant, timeout_s=timeout_s)
        if caught.value.sent:
            break
    assert caught.value.sent


def test_a_server_that_does_not_read_is_a_timeout(make_provider: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        provider = make_provider(f"http://127.0.0.1:{deaf.getsockname()[1]}/v1")
        with pytest.raises(Timeout):
            provider.complete(make_request(timeout_s=0.2, text="long " * 4_000_000))


def test_a_server_may_refuse_a_request_that_it_has_not_read(make_provider: Make) -> None:
    """The request is larger than all buffers between client and server, so that sending it fails."""
    refusal = b'{"error": {"message": "too large", "type": "invalid_request_error"}}'
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def refuse() -> None:
            connection, _ = listening.accept()
            connection.recv(10)
            connection.sendall(
                b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: %d\r\n\r\n%s" % (len(refusal), refusal)
            )
            connection.shutdown(socket.SHUT_WR)
            time.sleep(0.05)  # the response arrives before the reset
            connection.close()

        threading.Thread(target=refuse, daemon=True).start()
        provider = make_provider(f"http://127.0.0.1:{listening.getsockname()[1]}/v1")
        with pytest.raises(LLMCoreError):  # the reset may overtake the response
            provider.complete(make_request(timeout_s=5, text="long " * 4_000_000))
