"""A request that was never sent costs nothing and is not a failure of its backend; a sent one may be billed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

import llmcore
from llmcore.errors import BadRequest, ConfigError, ProviderError, Timeout, Unavailable
from llmcore.support.sending import Sending, mark_sent, track_sending
from llmcore.types import ChatRequest, Reply
from llmcore_testing import Simulator
from tests.kits.money import ASK, EACH, make_config

TOKENS: Final[dict[str, Any]] = {"max_tokens": 1000}


def list_rows(core: llmcore.Core) -> list[dict[str, Any]]:
    return list(core.usage.export())


def read_amounts(core: llmcore.Core) -> list[Decimal]:
    (state,) = core.usage.budgets()
    return [state.reserved, state.spent]


@contextlib.contextmanager
def serve_full() -> Iterator[str]:
    """Yield the address of a server whose backlog is full, so that connecting to it waits."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            client = stack.enter_context(socket.socket())
            client.settimeout(0)
            client.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


def openai_core(folder: Path, base_url: str, voice: str = "elevenlabs") -> llmcore.Core:
    return llmcore.load(
        {
            "llm": {
                "provider": "openai",
                "model": "gpt-4o-mini",
                "openai": {"api_key": "sk-test", "base_url": base_url},
            },
            "voice": {
                "provider": voice,
                "elevenlabs": {"api_key": "sk-test", "base_url": base_url.removesuffix("/v1")},
                "openai": {"api_key": "sk-test", "base_url": base_url},
            },
            "cache": {"provider": "memory"},
            "budget": {"limit": 100},
            "ledger": {"path": str(folder / "ledger.sqlite3")},
        }
    )


async def cancel_after(seconds: float, *calls: Any) -> None:
    tasks = [asyncio.ensure_future(call) for call in calls]
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(ended, asyncio.CancelledError), ended


async def drain(stream: Any) -> None:
    async for _ in stream:
        pass


@pytest.mark.parametrize("voice", ["elevenlabs", "openai"])
def test_calls_cancelled_while_they_wait_for_a_connection_cost_nothing(tmp_path: Path, voice: str) -> None:
    with serve_full() as url:
        core = openai_core(tmp_path, url, voice)

        async def main() -> None:
            await cancel_after(
                0.5,
                core.llm.achat("one", **TOKENS),
                core.llm.achat("two", cache=False, **TOKENS),
                drain(core.llm.astream("three", **TOKENS)),
                core.voice.asynthesize("Four."),
                drain(core.voice.astream("Five.")),
            )

        asyncio.run(main())
        assert list_rows(core) == []
        assert read_amounts(core) == [0, 0]
        assert core.usage.totals().uncertain == 0
        core.close()


def test_calls_cancelled_after_they_were_sent_are_booked_at_the_tightest_maximum(tmp_path: Path) -> None:
    with Simulator() as upstream:
        upstream.hold()
        core = openai_core(tmp_path, upstream.base_url)

        async def main() -> None:
            tasks = [
                asyncio.ensure_future(core.llm.achat("Hello", **TOKENS)),
                asyncio.ensure_future(drain(core.llm.astream("Hello", cache=False, **TOKENS))),
            ]
            await asyncio.to_thread(upstream.wait_for_requests, 2)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run(main())
        count = core.llm.count_tokens([{"role": "user", "content": "Hello"}])
        each = (Decimal("0.15") * int(count) + Decimal("0.60") * 1000) / 1_000_000
        assert [(row["error"], row["uncertain"], Decimal(row["cost"])) for row in list_rows(core)] == [
            ("cancelled", 1, each)
        ] * 2
        assert read_amounts(core) == [0, 2 * each]
        upstream.release()
        core.close()


def test_a_deadline_that_passes_before_the_connection_is_open_costs_nothing(tmp_path: Path) -> None:
    with serve_full() as url:
        core = openai_core(tmp_path, url)
        with pytest.raises((Timeout, Unavailable)):
            core.llm.chat("one", timeout=0.5, **TOKENS)
        with pytest.raises((Timeout, Unavailable)):
            asyncio.run(core.llm.achat("two", timeout=0.5, **TOKENS))
        assert {(row["state"], row["cost"], row["uncertain"]) for row in list_rows(core)} == {
            ("failed", "0", 0)
        }
        assert read_amounts(core) == [0, 0]
        core.close()


def test_a_call_without_a_key_is_not_a_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("ELEVENLABS_API_KEY", raising=False)
    core = llmcore.load(
        {
            "llm": {"provider": "openai", "model": "gpt-4o-mini"},
            "voice": {"provider": "elevenlabs"},
            "budget": {"limit": 100},
            "ledger": {"path": str(tmp_path / "ledger.sqlite3")},
        }
    )
    with pytest.raises(ConfigError):
        core.llm.chat("one", **TOKENS)
    with pytest.raises(ConfigError):
        list(core.llm.stream("two", **TOKENS))
    with pytest.raises(ConfigError):
        asyncio.run(core.llm.achat("three", **TOKENS))
    with pytest.raises(ConfigError):
        core.voice.synthesize("Four.")
    assert core.usage.by("provider") == []
    assert core.usage.by("error") == []
    assert read_amounts(core) == [0, 0]
    assert core.usage.totals().failures == 0


@pytest.mark.parametrize("tracks", [True, False])
@pytest.mark.parametrize("error", [BadRequest("no such argument"), ProviderError("no", sent=False)])
def test_a_bad_request_that_was_not_sent_is_not_a_request(
    scripted: Any, tmp_path: Path, error: ProviderError, *, tracks: bool
) -> None:
    core = llmcore.load(make_config(tmp_path, limit=100))

    class Refuses(scripted.Scripted):  # type: ignore[misc]  # a module made for the test
        def complete(self, _request: ChatRequest) -> Reply:
            if tracks:
                track_sending()
            raise error

    backend = core.backend("llm", "scripted")
    backend._provider = Refuses(backend.options)
    with pytest.raises(ProviderError):
        core.llm.chat("one", **ASK)
    assert list_rows(core) == []
    assert core.usage.totals().failures == 0


@pytest.mark.parametrize("status", [400, 401])
def test_a_request_that_the_server_refuses_is_a_failed_request(tmp_path: Path, status: int) -> None:
    from llmcore_testing import Fault

    with Simulator() as upstream:
        core = openai_core(tmp_path, upstream.base_url)
        upstream.fail(Fault.status(status))
        with pytest.raises(ProviderError):
            core.llm.chat("one", **TOKENS)
        assert [(row["state"], row["cost"]) for row in list_rows(core)] == [("failed", "0")]
        assert core.usage.totals().failures == 1
        core.close()


@pytest.mark.parametrize(
    ("steps", "cost"),
    [
        ([], EACH),
        ([track_sending], Decimal(0)),
        ([track_sending, mark_sent], EACH),
        ([track_sending, mark_sent, mark_sent], EACH),
        ([mark_sent], EACH),
    ],
)
def test_a_provider_may_report_when_a_request_is_sent(
    scripted: Any, tmp_path: Path, steps: list[Callable[[], None]], cost: Decimal
) -> None:
    """The host bridges it to the other variant, so the reports also arrive from a thread."""
    core = llmcore.load(make_config(tmp_path, limit=100))

    class Interrupted(scripted.Scripted):  # type: ignore[misc]  # a module made for the test
        def complete(self, _request: ChatRequest) -> Reply:
            for step in steps:
                step()
            raise KeyboardInterrupt

        acomplete = None

    backend = core.backend("llm", "scripted")
    backend._provider = Interrupted(backend.options)
    with pytest.raises(KeyboardInterrupt):
        core.llm.chat("one", **ASK)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(core.llm.achat("two", **ASK))
    assert read_amounts(core) == [0, 2 * cost]
    assert len(list_rows(core)) == (2 if cost else 0)


def test_a_request_that_was_booked_as_unsent_cannot_be_sent_later(scripted: Any, tmp_path: Path) -> None:
    """A blocking provider continues in its thread when the task that called it is cancelled."""
    core = llmcore.load(make_config(tmp_path, limit=100))
    waits, cancelled, ended = threading.Event(), threading.Event(), threading.Event()
    sent: list[str] = []

    class Waits(scripted.Scripted):  # type: ignore[misc]  # a module made for the test
        def complete(self, _request: ChatRequest) -> Reply:
            track_sending()
            waits.set()
            cancelled.wait(60)
            try:
                mark_sent()
                sent.append("sent")
            finally:
                ended.set()
            raise AssertionError

        acomplete = None

    backend = core.backend("llm", "scripted")
    backend._provider = Waits(backend.options)

    async def main() -> None:
        task = asyncio.ensure_future(core.llm.achat("one", **ASK))
        await asyncio.to_thread(waits.wait, 60)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert list_rows(core) == []
        cancelled.set()

    asyncio.run(main())
    assert ended.wait(60)
    assert sent == []
    assert read_amounts(core) == [0, 0]


def test_a_thousand_races_between_sending_and_withdrawing_have_one_winner() -> None:
    for _ in range(1000):
        sending, start, sent = Sending(), threading.Barrier(2), threading.Event()
        thread = threading.Thread(target=sending.blocking, args=(send_after, start, sent))
        thread.start()
        start.wait()
        withdrawn = sending.withdraw()
        thread.join()
        assert withdrawn is not sent.is_set()
        assert sending.withdraw() is withdrawn


def send_after(start: threading.Barrier, sent: threading.Event) -> None:
    track_sending()
    start.wait()
    with contextlib.suppress(ProviderError):
        mark_sent()
        sent.set()


def test_reporting_outside_of_a_call_does_nothing() -> None:
    track_sending()
    mark_sent()
