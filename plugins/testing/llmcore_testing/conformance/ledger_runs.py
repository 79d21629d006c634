"""The part of the ledger kit that tests `LedgerRuns`: several workers share the items of a batch."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from llmcore.support.ledger_runs import BUSY, MINE, ItemState
from llmcore_testing.conformance.ledger_calls import TIMEOUT_S, LedgerCalls, open_again
from llmcore_testing.conformance.optional_tests import for_ability, requires
from llmcore_testing.conformance.races import needs_fork

__all__ = ["LedgerRunsTests"]

_KEYS = [bytes([number]) * 32 for number in range(4)]


class LedgerRunsTests(LedgerCalls):
    """The tests of the ability `LedgerRuns`."""

    @pytest.fixture
    def runs(self, provider: Any) -> str:
        """Open a run, and return its name."""
        if not callable(getattr(provider, "claim_items", None)):
            pytest.skip(f"{type(provider).__name__} does not share runs of batches: it has no claim_items")
        self.do("open_run", "a-run", TIMEOUT_S)
        return "a-run"

    def claim(self, claim: str, keys: list[bytes], ledger: Any = None) -> list[ItemState] | None:
        """Claim items of the run."""
        states = self.do("claim_items", "a-run", claim, keys, TIMEOUT_S, ledger=ledger)
        return None if states is None else list(states)

    @requires("opener")
    def test_an_item_is_claimed_once_and_its_answer_is_shared(
        self, runs: str, opener: Callable[[], Any]
    ) -> None:
        other = open_again(opener)
        assert self.claim("one", _KEYS[:2]) == [MINE, MINE]
        assert self.claim("two", _KEYS[1:3], other) == [BUSY, MINE], "an item must have at most one claim"
        assert self.claim("one", _KEYS[:2]) == [MINE, MINE], "a repeated claim must find its items"
        self.do("finish_items", runs, "one", [(_KEYS[1], b"\x00answer")], TIMEOUT_S)
        assert self.claim("two", _KEYS[:2], other) == [BUSY, ItemState("done", b"\x00answer")]
        self.do("finish_items", runs, "two", [(_KEYS[1], b"late")], TIMEOUT_S, ledger=other)
        assert self.claim("two", [_KEYS[1]], other) == [ItemState("done", b"\x00answer")], (
            "a late answer must not replace the first answer"
        )
        self.do("release_items", runs, "one", TIMEOUT_S)
        assert self.claim("two", _KEYS[:2], other) == [MINE, ItemState("done", b"\x00answer")]
        self.do("release_items", runs, "two", TIMEOUT_S, ledger=other)
        other.close()

    def test_only_an_open_run_has_claims(self, runs: str) -> None:
        assert self.do("claim_items", "unknown", "one", _KEYS, TIMEOUT_S) is None, (
            "claim_items must return None for a run that was never opened"
        )
        assert self.claim("one", _KEYS[:2]) == [MINE, MINE]
        self.do("close_run", runs, TIMEOUT_S)
        assert self.claim("one", _KEYS) is None, "claim_items must return None for a closed run"
        self.do("finish_items", runs, "one", [(_KEYS[0], b"paid")], TIMEOUT_S)
        self.do("release_items", runs, "one", TIMEOUT_S)
        self.do("open_run", runs, TIMEOUT_S)
        assert self.claim("two", _KEYS[:2]) == [ItemState("done", b"paid"), MINE], (
            "an answer that arrives after close_run must be kept"
        )
        self.do("forget_run", runs, TIMEOUT_S)
        assert self.claim("two", _KEYS) is None, "claim_items must return None after forget_run"
        self.do("finish_items", runs, "two", [(_KEYS[1], b"late")], TIMEOUT_S)
        self.do("release_items", runs, "two", TIMEOUT_S)
        self.do("forget_run", runs, TIMEOUT_S)
        self.do("open_run", runs, TIMEOUT_S)
        assert self.claim("three", _KEYS[:2]) == [MINE, MINE], "a forgotten answer must not come back"
        self.do("release_items", runs, "three", TIMEOUT_S)

    @for_ability("fork")
    @needs_fork
    @requires("opener")
    def test_the_items_of_a_process_that_died_are_taken_over(
        self, runs: str, opener: Callable[[], Any]
    ) -> None:
        del runs
        other = open_again(opener)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns about a fork with threads
            pid = os.fork()
        if not pid:
            try:
                other.claim_items("a-run", "dead", _KEYS[:2], TIMEOUT_S)
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        ends = time.monotonic() + self.recovery_s
        while (found := self.claim("one", _KEYS[:3])) != [MINE] * 3 and time.monotonic() < ends:
            time.sleep(0.05)
        assert found == [MINE] * 3, "the items of a dead process must become free"
        self.do("release_items", "a-run", "one", TIMEOUT_S)
        other.close()
