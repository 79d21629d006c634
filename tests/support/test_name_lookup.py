"""Look-ups of names that hang: each caller keeps its own time limit."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import llmcore
from llmcore.errors import LLMCoreError, Timeout
from llmcore.support.name_lookup import LookUpTimeout, look_up
from llmcore_testing.simulator import Simulator

PATIENCE_S = 60.0


class Resolver:
    """Looks up `slow.test` when `resolved` is set, and other names at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked, self.resolved, self._plain = threading.Event(), threading.Event(), socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._look_up)

    def _look_up(self, host: Any, *args: Any, **named: Any) -> Any:
        if not str(host).endswith(".test") or named.get("flags"):
            return self._plain(host, *args, **named)
        if host == "slow.test":
            self.asked.set()
            self.resolved.wait()
        return self._plain("127.0.0.1", *args, **named)


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    made = Resolver(monkeypatch)
    yield made
    made.resolved.set()


def test_a_look_up_without_a_thread_holds_up_no_other_call(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "llmcore-lookup":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    found: list[Any] = []

    def ask_others() -> None:
        with pytest.raises(LookUpTimeout, match=r"took longer than 0\.01 s"):
            look_up("slow.test", 80, 0.01)
        found.append(look_up("quick.test", 80, PATIENCE_S))

    first = threading.Thread(target=lambda: found.append(look_up("slow.test", 80, 0.01)))
    first.start()
    assert resolver.asked.wait(PATIENCE_S)
    others = threading.Thread(target=ask_others)
    others.start()
    others.join(PATIENCE_S)
    assert (len(found), first.is_alive()) == (1, True)
    resolver.resolved.set()
    first.join(PATIENCE_S)
    assert found[0] == found[1] == look_up("127.0.0.1", 80, PATIENCE_S)


def _chat(core: llmcore.Core, timeout_s: float) -> object:
    return core.llm.chat("Hello", timeout=timeout_s).text


def _speak(core: llmcore.Core, timeout_s: float) -> object:
    return core.voice.synthesize("Hello", timeout=timeout_s)


@pytest.mark.parametrize("route", ["direct", "proxy"])
@pytest.mark.parametrize(
    "case",
    [
        ("llm", "openai", _chat),
        ("llm", "anthropic", _chat),
        ("voice", "openai", _speak),
        ("voice", "elevenlabs", _speak),
    ],
)
def test_a_blocking_call_keeps_its_deadline_while_a_name_is_looked_up(
    case: tuple[str, str, Callable[[llmcore.Core, float], object]],
    route: str,
    resolver: Resolver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kind, provider, ask = case
    with Simulator() as upstream:
        url = (upstream.base_url if provider == "openai" else upstream.url).replace("127.0.0.1", "slow.test")
        if route == "proxy":
            monkeypatch.setenv("HTTP_PROXY", upstream.url.replace("127.0.0.1", "slow.test"))
            url = url.replace("slow.test", "upstream.test")
        chosen: dict[str, Any] = {"provider": provider, provider: {"base_url": url, "api_key": "test"}}
        if kind == "llm":
            chosen["model"] = {"openai": "gpt-4o-mini", "anthropic": "claude-sonnet-5"}[provider]
        with llmcore.load({kind: chosen}) as core:
            errors: list[BaseException] = []

            def ask_until_asked() -> None:
                while not resolver.asked.is_set():  # a slow machine may reach the deadline before the look-up
                    try:
                        ask(core, 0.3)
                    except Timeout as error:
                        errors.append(error)

            asking = threading.Thread(target=ask_until_asked)
            asking.start()
            asking.join(PATIENCE_S)
            assert not asking.is_alive()
            assert errors
            resolver.resolved.set()
            if route == "direct":
                assert ask(core, PATIENCE_S)
            else:  # the simulator is not a proxy, so it answers that it does not know the path http://upstream.test/...
                with pytest.raises(LLMCoreError, match=r"Invalid URL \(POST http://upstream"):
                    ask(core, PATIENCE_S)


def test_a_host_is_reached_at_the_next_of_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = socket.getaddrinfo

    def find_two(host: Any, port: Any, *args: Any, **named: Any) -> Any:
        if host != "two.test" or named.get("flags"):
            return plain(host, port, *args, **named)
        found = plain("127.0.0.1", port, *args, **named)
        return [(*found[0][:4], ("127.0.0.2", port)), *found]

    monkeypatch.setattr(socket, "getaddrinfo", find_two)
    with Simulator() as upstream:
        account = {"base_url": upstream.url.replace("127.0.0.1", "two.test"), "api_key": "test"}
        chosen = {"provider": "anthropic", "model": "claude-sonnet-5", "anthropic": account}
        with llmcore.load({"llm": chosen}) as core:
            assert core.llm.chat("Hello", timeout=PATIENCE_S).text
