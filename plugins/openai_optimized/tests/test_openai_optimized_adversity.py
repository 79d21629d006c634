"""Faults of an upstream, through the whole host: error classes, numbers of attempts, and the deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import llmcore
from llmcore.errors import (
    AuthenticationFailed,
    BadRequest,
    IncompleteReply,
    LLMCoreError,
    MalformedReply,
    NotFound,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    Timeout,
    Unavailable,
)
from llmcore_testing.simulator import Fault, Simulator

START = "This is a simulated answer"
WAYS = ["chat", "achat", "stream", "astream"]
NOW = {"retry-after-ms": "0"}


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class LoadedCore:
    """A Core over *upstream*, asked in one way."""

    def __init__(self, upstream: Simulator, way: str, attempts: int = 1, deadline_s: float = 30.0) -> None:
        self.way = way
        self.core = llmcore.load(
            {
                "llm": {
                    "provider": "openai",
                    "model": "gpt-6-sol",
                    "openai": {"base_url": upstream.base_url, "api_key": "env:KEY_OF_THE_TEST"},
                },
                "cache": {"provider": "memory"},
                "retry": {"attempts": attempts, "deadline": deadline_s, "idle": 30},
            }
        )

    def ask(self) -> str:
        """Return the answer's text, as it came."""
        llm = self.core.llm

        async def drain() -> str:
            return "".join([delta.text async for delta in llm.astream("Tell me of rain")])

        match self.way:
            case "chat":
                return llm.chat("Tell me of rain").text
            case "achat":
                return asyncio.run(llm.achat("Tell me of rain")).text
            case "stream":
                return "".join(delta.text for delta in llm.stream("Tell me of rain"))
            case _:
                return asyncio.run(drain())

    def failure(self) -> ProviderError:
        """Ask; return the error that must come, which nothing hangs on."""
        with pytest.raises(LLMCoreError) as caught:
            self.ask()
        error = caught.value
        assert isinstance(error, ProviderError)
        assert error.provider == "openai"
        assert error.__cause__ is None
        assert error.__context__ is None
        return error


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KEY_OF_THE_TEST", "sk-test")
    for name in ("CACHE", "CONFIG", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path))


PLAIN_TOO = [
    (Fault.reset(), Unavailable, ""),
    (Fault.reset(after=3), IncompleteReply, "streams"),
    (Fault.cut_stream(after=400), IncompleteReply, "plain"),
    (Fault.cut_stream(after=3), IncompleteReply, "streams"),
    (Fault.cut_stream(after=3, clean=False), IncompleteReply, "streams"),
    (Fault.bad_json(), MalformedReply, ""),
    (Fault.html(), MalformedReply, ""),
    (Fault.empty_body(), MalformedReply, ""),
    (Fault.wrong_schema(), MalformedReply, ""),
    (Fault.no_choices(), MalformedReply, ""),
    (Fault.big_body(megabytes=64), MalformedReply, "both"),
    (Fault.redirect("http://127.0.0.2:9/v1/chat/completions"), ProviderError, ""),
]
STREAMS_ONLY = [
    (Fault.error_chunk(after=3), Unavailable, "streams"),
    (Fault.error_chunk(after=3, code="rate_limit_exceeded"), RateLimited, "streams"),
    (Fault.error_chunk(after=3, code="insufficient_quota"), QuotaExhausted, "streams"),
    (Fault.bad_json_chunk(after=3), MalformedReply, "streams"),
    (Fault.no_finish_reason(), IncompleteReply, "streams"),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "fault", "kind", "partial"),
    [
        *((way, *row) for way in WAYS for row in PLAIN_TOO),
        *((way, *row) for way in ("stream", "astream") for row in STREAMS_ONLY),
    ],
    ids=str,
)
def test_no_fault_is_a_short_success(
    upstream: Simulator, way: str, fault: Fault, kind: type[ProviderError], partial: str
) -> None:
    loaded = LoadedCore(upstream, way)
    upstream.fail(fault)
    error = loaded.failure()
    assert type(error) is kind
    if partial in {"both", "streams" if "stream" in way else "plain"}:
        assert error.partial
        assert fault.kind == "big_body" or START.startswith(error.partial[: len(START)])
    assert upstream.counts["requests"] == 1
    assert loaded.ask().startswith(START), "and nothing of it was cached"
    assert upstream.counts["requests"] == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "attempts"), [(408, 1), (408, 2), (409, 2), (429, 3), (500, 2), (503, 1), (503, 2), (529, 2)]
)
def test_calls_made_are_the_attempts_configured(
    upstream: Simulator, way: str, status: int, attempts: int
) -> None:
    upstream.fail(Fault.status(status, headers=NOW), times=None)
    LoadedCore(upstream, way, attempts).failure()
    assert upstream.counts["requests"] == attempts


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.status(400), BadRequest),
        (Fault.status(401), AuthenticationFailed),
        (Fault.status(403), AuthenticationFailed),
        (Fault.status(404), NotFound),
        (Fault.status(422), BadRequest),
        (Fault.status(429, code="insufficient_quota", retry_after=0), QuotaExhausted),
        (Fault.redirect("http://127.0.0.2:9/v1/chat/completions"), ProviderError),
    ],
    ids=str,
)
def test_a_permanent_error_is_not_retried(
    upstream: Simulator, way: str, fault: Fault, kind: type[ProviderError]
) -> None:
    upstream.fail(fault, times=None)
    assert type(LoadedCore(upstream, way, attempts=4).failure()) is kind
    assert upstream.counts["requests"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "headers",
    [
        {"retry-after": "0"},
        {"retry-after": "0.01"},
        {"retry-after-ms": "10"},
        {"retry-after-ms": "10", "retry-after": "3600"},
        {"retry-after": "Sun, 22 Nov 2020 12:00:00 GMT"},
        {"retry-after": "Sat, 22 Nov 2098 12:00:00 GMT", "date": "Sat, 22 Nov 2098 12:00:00 GMT"},
        {"retry-after": "soon"},
        {"retry-after": "-5"},
    ],
    ids=str,
)
def test_a_retry_after_within_the_deadline_is_followed_by_a_retry(
    upstream: Simulator, way: str, headers: dict[str, str]
) -> None:
    upstream.fail(Fault.status(429, headers=headers))
    assert LoadedCore(upstream, way, attempts=2).ask().startswith(START)
    assert upstream.counts["requests"] == 2


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after": "31"}, 31),
        ({"retry-after": "3600"}, 3600),
        ({"retry-after-ms": "31000", "retry-after": "1"}, 31),
        ({"retry-after": "Sat, 22 Nov 2098 12:01:00 GMT", "date": "Sat, 22 Nov 2098 12:00:00 GMT"}, 60),
    ],
    ids=str,
)
def test_a_retry_after_beyond_the_deadline_fails_at_once(
    upstream: Simulator, way: str, headers: dict[str, str], expected: float
) -> None:
    upstream.fail(Fault.status(429, headers=headers), times=None)
    error = LoadedCore(upstream, way, attempts=4, deadline_s=30).failure()
    assert (type(error), error.retry_after) == (RateLimited, expected)
    assert "would pass the deadline" in str(error)
    assert upstream.counts["requests"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [Fault.hang(), Fault.stall(), Fault.slow(bytes_per_second=100), Fault.slow(seconds=60)],
    ids=["hang", "stall", "trickle", "late"],
)
def test_the_deadline_holds_within_a_tenth_of_a_second(upstream: Simulator, way: str, fault: Fault) -> None:
    deadline_s = 0.3
    over, partials = [], []
    is_partial = fault.kind == "stall" and "stream" in way
    for _ in range(20):  # other programs use this machine too, so the best of a few runs counts
        loaded = LoadedCore(upstream, way, attempts=4, deadline_s=deadline_s)
        upstream.fail(fault)
        started = time.monotonic()
        error = loaded.failure()
        over.append(time.monotonic() - started - deadline_s)
        assert type(error) is Timeout
        partials.append(error.partial)  # None if the first pieces did not arrive within the deadline
        if min(over) <= 0.1 and (not is_partial or any(partials)):
            break
    assert min(over) <= 0.1
    assert not is_partial or any(partials)
