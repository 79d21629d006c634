"""Clients of a gateway that ask one question after another."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping

import httpx2

from tests.kits.gateway import MODEL
from tests.kits.waiting import wait_until

__all__ = ["PATIENCE_S", "Load", "is_ledger_late"]

CLIENTS = 4
PATIENCE_S = 110.0
PAUSE_S = 0.02
"""Between two questions of a client: without it the load takes the cores that a gateway needs to start."""


def is_ledger_late(answer: httpx2.Response) -> bool:
    """Return whether the gateway refused because its ledger did not answer in time, as on a machine that stops."""
    return answer.status_code == 503 and str(answer.json()["error"]["code"]).startswith("LC60")


class Load:
    """Clients that ask one question after another, each another one, until they are stopped and have asked enough.

    Args:
        find_url: Returns the address of the gateway for the next question.
        count: The least number of questions.
        headers: The headers of each question.
    """

    def __init__(
        self, find_url: Callable[[], str], count: int, headers: Mapping[str, str] | None = None
    ) -> None:
        self._find_url = find_url
        self._count = count
        self._headers = headers
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._asked = 0
        self.outcomes: Counter[str] = Counter()
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def wait_for(self, more: int) -> None:
        """Wait until *more* answers have come."""
        wanted = self.outcomes.total() + more
        wait_until(lambda: self.outcomes.total() >= wanted)

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(110)

    def _run(self) -> None:
        with httpx2.Client(timeout=PATIENCE_S, headers=self._headers) as http:
            while not self._stopped.is_set() or self._asked < self._count:
                with self._lock:
                    self._asked += 1
                    number = self._asked
                messages = [{"role": "user", "content": f"Question {number}"}]
                body = {"model": MODEL, "messages": messages, "stream": number % 2 == 0}
                try:
                    answer = http.post(f"{self._find_url()}/v1/chat/completions", json=body)
                    if is_ledger_late(answer):
                        continue
                    whole = answer.status_code == 200 and (number % 2 or "[DONE]" in answer.text)
                    outcome = "whole" if whole else f"{answer.status_code} {answer.text[:200]}"
                except httpx2.TransportError as error:
                    outcome = repr(error)
                with self._lock:
                    self.outcomes[outcome] += 1
                self._stopped.wait(PAUSE_S)
