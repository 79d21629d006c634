"""Tests of a cache or a storage whose server is gone, does not answer, cuts answers or refuses the credentials.

The fixture `upstream` puts a `TcpProxy` in front of the real server, and `broken` returns a backend that connects to
the proxy.
"""

from __future__ import annotations

import asyncio  # noqa: TID253 - loaded only by tests
import contextlib
import logging
import traceback
from collections.abc import Sequence
from contextlib import closing
from typing import Any, ClassVar, Final

import pytest

from llmcore.errors import LLMCoreError
from llmcore_testing.conformance.caller import Call, Caller
from llmcore_testing.conformance.canary_tests import CanaryTests
from llmcore_testing.conformance.large_values import are_equal
from llmcore_testing.conformance.optional_tests import requires
from llmcore_testing.tcp_proxy import TcpProxy

__all__ = ["BrokenServer"]

_CUTS: Final = (0, 1, 7, 40)
"""Numbers of bytes after which an answer is cut. All answers that the tests cut are longer."""
_NONSENSE: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nContent-Length: 14\r\n\r\n<html>no</html"
)
_LARGE: Final = bytes(range(1, 251)) * 200
_MARKER: Final = b"a value that is sent once and looked for"


class BrokenServer(CanaryTests):
    """Each test makes the server fail in one way, checks the errors, and checks that later calls work again.

    The tests need the fixtures `upstream` and `broken`. The test of refused credentials needs only `denied`.
    """

    failure: ClassVar[type[LLMCoreError]] = LLMCoreError
    """The class of all errors that the backend may raise."""
    away: ClassVar[type[LLMCoreError]] = LLMCoreError
    """The class of the error if the server cannot be reached or does not answer."""
    refusal: ClassVar[type[LLMCoreError]] = LLMCoreError
    """The class of the error if the server does not accept the credentials."""
    requests_per_call: ClassVar[int] = 1
    """The maximum number of times that the backend may send one write if the server cuts the answer. This is 1 plus the
    number of the backend's own retries."""

    @pytest.fixture
    def upstream(self) -> TcpProxy | None:
        """Return a started `TcpProxy` in front of the real server, or None if there is no server."""
        return None

    @pytest.fixture
    def broken(self) -> Any:
        """Return a second backend for the same entries or files. It connects to `upstream`, with timeouts below 2 s."""
        return None

    @pytest.fixture
    def denied(self) -> Any:
        """Return a backend with credentials that the real server refuses, or None if there are no credentials."""
        return None

    def make_write(self, key: str, data: bytes) -> Call:
        """Return the call that stores *data*."""
        raise NotImplementedError

    def make_read(self, key: str) -> Call:
        """Return the call that returns the bytes of *key*."""
        raise NotImplementedError

    def make_other_calls(self, key: str) -> Sequence[Call]:
        """Return calls of all other operations that need the server.

        The tests skip operations that the backend lacks.
        """
        raise NotImplementedError

    @requires("upstream", "broken")
    def test_through_the_proxy_the_server_answers(self, upstream: TcpProxy, broken: Any) -> None:
        with closing(self.another(broken)) as caller:
            self._write(caller, "key", _MARKER)
            assert self._read(caller, "key") == _MARKER
            assert upstream.count(_MARKER) == 1, (
                f"one write must be one request, got {upstream.count(_MARKER)}"
            )

    @requires("upstream", "broken")
    def test_a_server_that_is_gone_is_reported_by_each_operation(
        self, upstream: TcpProxy, broken: Any, canary: str | None, caplog: pytest.LogCaptureFixture
    ) -> None:
        with closing(self.another(broken)) as caller:
            self._write(caller, "key", b"before")
            upstream.refuse()
            for call in self._make_calls(caller):
                error = self._fail(caller, call, "is gone", canary, caplog)
                assert isinstance(error, self.away), (
                    f"{caller.get_name(call[0])} must raise {self.away.__name__} if the server is gone, "
                    f"raised {type(error).__name__}: {error}"
                )
            upstream.heal()
            self._check_recovery(caller, "was gone")

    @requires("upstream", "broken")
    def test_a_server_that_falls_silent_ends_the_call(
        self, upstream: TcpProxy, broken: Any, canary: str | None, caplog: pytest.LogCaptureFixture
    ) -> None:
        with closing(self.another(broken)) as caller:
            self._write(caller, "key", b"before")
            upstream.hold()
            for call in (self.make_read("key"), self.make_write("key", b"during")):
                error = self._fail(caller, call, "does not answer", canary, caplog)
                assert isinstance(error, self.away), (
                    f"{caller.get_name(call[0])} must raise {self.away.__name__} if the server does not answer, "
                    f"raised {type(error).__name__}: {error}"
                )
            upstream.heal()  # delivers the late answers; no later call may read one of them
            self._check_recovery(caller, "answered late")

    @pytest.mark.parametrize("after", _CUTS)
    @requires("upstream", "broken")
    def test_a_cut_answer_is_an_error_and_not_a_result(
        self,
        after: int,
        upstream: TcpProxy,
        broken: Any,
        canary: str | None,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        with closing(self.another(broken)) as caller:
            self._write(caller, "large", _LARGE)
            assert are_equal(self._read(caller, "large"), _LARGE), "reading must return what was written"
            streams = [
                call
                for call in self.make_other_calls("large")
                if call[0] == "load_stream" and caller.has(call[0])
            ]
            for call in (self.make_read("large"), *streams):
                upstream.cut(after)
                self._fail(caller, call, f"cuts an answer after {after} bytes", canary, caplog)
            upstream.heal()
            self._check_recovery(caller, f"cut an answer after {after} bytes")

    @requires("upstream", "broken")
    def test_a_write_whose_answer_is_cut_is_an_error_and_sent_once(
        self, upstream: TcpProxy, broken: Any, canary: str | None, caplog: pytest.LogCaptureFixture
    ) -> None:
        with closing(self.another(broken)) as caller:
            self._write(caller, "key", b"before")
            upstream.cut(0)
            self._fail(caller, self.make_write("key", _MARKER), "cuts the answer to a write", canary, caplog)
            count = upstream.count(_MARKER)
            assert count <= self.requests_per_call, (
                f"a failed write must be sent at most {self.requests_per_call} times, the server got it {count} times"
            )
            upstream.heal()
            self._check_recovery(caller, "cut the answer to a write")

    @requires("upstream", "broken")
    def test_an_answer_of_another_protocol_is_an_error(
        self, upstream: TcpProxy, broken: Any, canary: str | None, caplog: pytest.LogCaptureFixture
    ) -> None:
        with closing(self.another(broken)) as caller:
            self._write(caller, "key", b"before")
            upstream.answer(_NONSENSE)
            for call in (self.make_read("key"), self.make_write("key", b"during")):
                self._fail(caller, call, "answers in another protocol", canary, caplog)
            upstream.heal()
            self._check_recovery(caller, "answered in another protocol")

    @requires("upstream", "broken")
    def test_a_cancelled_call_leaves_no_answer_to_the_next(self, upstream: TcpProxy, broken: Any) -> None:
        if self.caller.variant == "sync":
            return
        with closing(self.another(broken)) as caller:
            for number in range(6):
                self._write(caller, f"key {number}", f"value {number}".encode())
            upstream.hold()
            for turns in (1, 3, 30):
                caller.run(
                    _cancel(caller, self.make_read("key 0"), turns), caller.get_name(self.make_read("")[0])
                )
            upstream.heal()
            found = [self._read(caller, f"key {number}") for number in range(6)]
            assert found == [f"value {number}".encode() for number in range(6)], (
                f"after a cancelled call, a call got the answer to another call: {found}"
            )

    @requires("denied")
    def test_refused_credentials_are_an_error_that_does_not_show_them(
        self, denied: Any, canary: str | None, caplog: pytest.LogCaptureFixture
    ) -> None:
        with closing(self.another(denied)) as caller:
            for call in (self.make_read("key"), self.make_write("key", b"data")):
                error = self._fail(caller, call, "refuses the credentials", canary, caplog)
                assert isinstance(error, self.refusal), (
                    f"{caller.get_name(call[0])} must raise {self.refusal.__name__} if the server refuses the credentials, "
                    f"raised {type(error).__name__}: {error}"
                )

    # -- checks

    def _make_calls(self, caller: Caller) -> Sequence[Call]:
        calls = [self.make_read("key"), self.make_write("key", b"during"), *self.make_other_calls("key")]
        return [call for call in calls if caller.has(call[0])]

    def _write(self, caller: Caller, key: str, data: bytes) -> None:
        name, *args = self.make_write(key, data)
        caller.call(name, *args)

    def _read(self, caller: Caller, key: str) -> Any:
        name, *args = self.make_read(key)
        return caller.call(name, *args)

    def _check_recovery(self, caller: Caller, what: str) -> None:
        """Check that each call gets its own answer again after the failure."""
        __tracebackhide__ = True
        for number in range(3):
            self._write(caller, f"after {number}", f"value {number}".encode())
        for number in range(3):
            found = self._read(caller, f"after {number}")
            assert found == f"value {number}".encode(), (
                f"after the server {what}, {caller.get_name(self.make_read('')[0])} returned {found!r:.60}, "
                f"which is not the value of its key"
            )

    def _fail(
        self, caller: Caller, call: Call, what: str, canary: str | None, caplog: pytest.LogCaptureFixture
    ) -> LLMCoreError:
        """Make the call and return its error. Check the error's class, and that error and log do not contain *canary*."""
        __tracebackhide__ = True
        name, *args = call
        label = caller.get_name(name)
        result: Any = None
        error: Exception | None = None
        with caplog.at_level(logging.DEBUG):
            try:
                result = caller.collect(name, *args) if name == "load_stream" else caller.call(name, *args)
            except Exception as raised:  # noqa: BLE001 - the test checks the error
                error = raised
        if error is None:
            pytest.fail(
                f"{label} must raise {self.failure.__name__} if the server {what}, returned {result!r:.80}"
            )
        assert isinstance(error, self.failure), (
            f"{label} must raise {self.failure.__name__} if the server {what}, raised {type(error).__name__}: {error}"
        )
        assert error.message.strip(), f"{label} raised {type(error).__name__} without a message"
        foreign = self.foreign(error)
        assert not foreign, (
            f"{label} chains {foreign[0]!r:.100} to its error: raise it with llmcore.support.errors.raise_unchained"
        )
        if canary is not None:
            shown = "".join(traceback.format_exception(error)) + repr(vars(error))
            assert canary not in shown, "the key is in an error"
            assert canary not in caplog.text, "the key is in the log"
        return error


async def _cancel(caller: Caller, call: Call, turns: int) -> None:
    name, *args = call
    task = asyncio.ensure_future(getattr(caller.provider, caller.get_name(name))(*args))
    for _ in range(turns):
        await asyncio.sleep(0.001)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
