"""Tests that a backend never shows its API key."""

from __future__ import annotations

import logging
import traceback

import pytest

from llmcore.errors import LLMCoreError
from llmcore_testing.conformance.caller import Call
from llmcore_testing.conformance.optional_tests import requires
from llmcore_testing.conformance.time_tests import TimeTests

__all__ = ["CanaryTests"]


class CanaryTests(TimeTests):
    """Tests that search reprs, results, errors, tracebacks and logs for the API key."""

    @pytest.fixture
    def canary(self) -> str | None:
        """Return the API key of the backend under test, or None if the backend has no key."""
        return None

    def make_odd_call(self) -> Call:
        """Return a call that the backend probably rejects, so that errors are searched too."""
        return self.make_call()

    @requires("canary")
    def test_the_key_is_never_shown(self, canary: str, caplog: pytest.LogCaptureFixture) -> None:
        provider = self.caller.provider
        assert canary not in f"{provider!r} {provider!s}", "the backend's repr shows the key"
        shown = {name for name, value in getattr(provider, "__dict__", {}).items() if canary in repr(value)}
        assert not shown, f"this repr shows the key: {', '.join(sorted(shown))}"
        with caplog.at_level(logging.DEBUG):
            for call in (self.make_call(), self.make_odd_call()):
                self._check_call(canary, call)
        assert canary not in caplog.text, "the log shows the key"

    def _check_call(self, canary: str, call: Call) -> None:
        name, *args = call
        try:
            result = self.call(name, *args)
        except LLMCoreError as error:
            text = "".join(traceback.format_exception(error)) + repr(vars(error))
            assert canary not in text, "an error contains the key"
        else:
            assert canary not in repr(result), "a result contains the key"
