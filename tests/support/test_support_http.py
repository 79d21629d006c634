"""What plugins behind an HTTP API share: deadlines, clients, classes of errors, and texts without keys."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading

import pytest

from llmcore.errors import (
    AuthenticationFailed,
    BadRequest,
    IncompleteReply,
    MalformedReply,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    Timeout,
    Unavailable,
)
from llmcore.support.http import (
    LoopClients,
    RequestDeadline,
    ThreadClient,
    classify_status,
    get_deadline,
    scrub,
    translate_http_error,
    was_sent,
)


class Client:
    """A client with connections, which belong to one process and one event loop."""

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.closed = True


def test_each_step_gets_the_remaining_time() -> None:
    deadline = RequestDeadline(100.0, 3.0)
    assert deadline.get("connect") == 5.0
    assert 99.0 < (deadline.get("read") or 0) <= 100.0, "silence counts once the answer has begun"
    deadline.begun = True
    assert deadline.get("read") == 3.0
    assert (deadline.get("write") or 0) > 99.0
    deadline.check()


def test_a_deadline_that_has_passed_is_an_error_and_blocks_no_socket() -> None:
    deadline = RequestDeadline(0.0, None)
    assert deadline.get("read") == 0.001
    with pytest.raises(TimeoutError):
        deadline.check()


def test_the_deadline_that_applies_is_found_below_an_sdk() -> None:
    outer, inner = RequestDeadline(1.0, None), RequestDeadline(2.0, None)
    with outer.apply():
        with inner.apply():
            assert get_deadline() is inner
        assert get_deadline() is outer


def test_threads_share_one_client_until_it_is_closed() -> None:
    clients: ThreadClient[Client] = ThreadClient(Client, Client.close)
    found: list[Client] = []
    threads = [threading.Thread(target=lambda: found.append(clients.get())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(map(id, found))) == 1
    clients.close()
    assert found[0].closed
    assert clients.get() is not found[0]


_FORK = """
import os
from llmcore.support.http import ThreadClient

clients = ThreadClient(lambda: [os.getpid()], lambda client: None)
parents = clients.get()
child = os.fork()
if not child:
    os._exit(0 if clients.get() == [os.getpid()] != parents else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert clients.get() is parents
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_gets_its_own_client() -> None:
    subprocess.run([sys.executable, "-c", _FORK], check=True, timeout=60)


def test_each_event_loop_has_a_client_that_ends_with_it() -> None:
    clients: LoopClients[Client] = LoopClients(Client, Client.aclose)

    async def use() -> Client:
        first = await clients.get()
        assert await clients.get() is first
        return first

    first, second = asyncio.run(use()), asyncio.run(use())
    assert first is not second
    assert first.closed
    assert second.closed


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequest), (401, AuthenticationFailed), (402, QuotaExhausted), (408, Timeout), (418, BadRequest),
        (429, RateLimited), (500, Unavailable), (529, Unavailable),
    ],
)  # fmt: skip
def test_the_status_decides_the_class(status: int, kind: type[ProviderError]) -> None:
    assert classify_status(status) is kind


def test_a_code_decides_before_the_status() -> None:
    codes = {"spent": QuotaExhausted}
    assert classify_status(401, ["unknown", "spent"], codes) is QuotaExhausted
    assert classify_status(401, ["unknown"], codes) is AuthenticationFailed


@pytest.mark.parametrize(
    "text",
    ["sk-0123456789abcdef", "Bearer abc", "https://host/?key=abc123", "AIza" + "x" * 30, "A" * 50, "secret"],
)
def test_no_key_is_left_in_a_text(text: str) -> None:
    assert text.rpartition("=")[2] not in scrub(f"the server said {text}, twice: {text}", "secret", None)


def test_a_long_text_is_shortened_and_put_on_one_line() -> None:
    text = scrub("line\n" * 1000)
    assert len(text) == 601
    assert "\n" not in text


class RequestError(Exception):
    """The base of httpx's network errors."""


class ConnectError(RequestError):
    """As httpx names it."""


class ReadError(RequestError):
    """As httpx names it."""


class DecodingError(RequestError):
    """As httpx names it."""


@pytest.mark.parametrize(
    ("raised", "begun", "kind", "sent"),
    [
        (TimeoutError(), False, Timeout, True),
        (ConnectError("refused"), False, Unavailable, False),
        (ReadError("reset"), False, Unavailable, True),
        (ReadError("reset"), True, IncompleteReply, True),
        (DecodingError("gzip"), True, MalformedReply, True),
        (ValueError("odd"), False, ProviderError, True),
    ],
)
def test_a_failure_of_the_network_becomes_the_error_that_fits(
    raised: Exception,
    begun: bool,  # noqa: FBT001 - a column of the table
    kind: type[ProviderError],
    sent: bool,  # noqa: FBT001 - as above
) -> None:
    error = translate_http_error(
        raised, provider="acme", address="https://acme.example", text=f"{raised}", begun=begun
    )
    assert type(error) is kind
    assert error.provider == "acme"
    assert was_sent(raised) is sent


def test_the_note_of_an_unreachable_server_names_the_proxy_or_the_cause() -> None:
    def describe(words: str, proxy: str = "") -> str:
        raised = ConnectError(words)
        return str(
            translate_http_error(
                raised, provider="acme", address="https://acme.example", text=words, begun=False, proxy=proxy
            )
        )

    assert "NO_PROXY" in describe("refused", "http://proxy:3128")
    assert "SSL_CERT_FILE" in describe("CERTIFICATE_VERIFY_FAILED")
    assert "http://" in describe("WRONG_VERSION_NUMBER")
    assert "host is unknown" in describe("Name or service not known")
