"""Look-ups of names that hang: each caller keeps its own time limit."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import llmcore
from llmcore.errors import Timeout
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


def test_a_blocking_call_keeps_its_deadline_while_a_name_is_looked_up(resolver: Resolver) -> None:
    with Simulator() as upstream:
        url = upstream.base_url.replace("127.0.0.1", "slow.test")
        account = {"base_url": url, "api_key": "sk-test"}
        config = {"llm": {"provider": "openai", "model": "gpt-4o-mini", "openai": account}}
        with llmcore.load(config) as core:
            errors: list[BaseException] = []

            def ask() -> None:
                while not resolver.asked.is_set():  # a slow machine may reach the deadline before the look-up
                    try:
                        core.llm.chat("Hello", timeout=1.0)
                    except Timeout as error:
                        errors.append(error)

            asking = threading.Thread(target=ask)
            asking.start()
            asking.join(PATIENCE_S)
            assert not asking.is_alive()
            assert errors
            resolver.resolved.set()
            assert core.llm.chat("Hello", timeout=PATIENCE_S).text == "This is a simulated answer to: Hello"
