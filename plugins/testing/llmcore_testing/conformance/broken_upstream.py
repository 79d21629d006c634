"""Tests of a backend whose HTTP server is unreachable or slow, answers with an error status, or breaks the connection.

The kits of language models and voices include these tests. The kit starts a `Simulator`; the fixture `broken` returns a
backend that connects to it.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any, ClassVar, Final

import pytest

from llmcore.errors import (
    AuthenticationFailed,
    BadRequest,
    LLMCoreError,
    NotFound,
    ProviderError,
    RateLimited,
    Timeout,
    Unavailable,
    VoiceError,
    VoiceNotFound,
)
from llmcore_testing.conformance.caller import Call, Caller
from llmcore_testing.conformance.canary_tests import CanaryTests
from llmcore_testing.conformance.optional_tests import requires
from llmcore_testing.simulator import Fault, Simulator

__all__ = ["BrokenUpstream"]

_Failure = ProviderError | VoiceError

_RETRY_AFTER_S: Final = 7
_STATUSES: Final[Mapping[str, tuple[Fault, tuple[type[LLMCoreError], ...]]]] = {
    "400": (Fault.status(400), (BadRequest,)),
    "401": (Fault.status(401), (AuthenticationFailed,)),
    "404": (Fault.status(404), (NotFound, VoiceNotFound)),
    "429": (Fault.status(429, retry_after=_RETRY_AFTER_S), (RateLimited,)),
    "500": (Fault.status(500), (Unavailable,)),
    "503": (Fault.status(503), (Unavailable, RateLimited)),
}
_CUT: Final = {
    "reset": Fault.reset(),
    "reset_within": Fault.reset(after=20),
    "closed_within": Fault.cut_stream(after=20, clean=False),
    "broken_json": Fault.bad_json(),
    "empty": Fault.empty_body(),
    "login_page": Fault.html(),
}
"""Faults that end the connection before the status, or that make an answer with status 200 incomplete or unreadable."""
_CUT_STREAMS: Final = {
    "reset": Fault.reset(after=2),
    "closed_within": Fault.cut_stream(after=2, clean=False),
    "ended_early": Fault.cut_stream(after=2),
    "error": Fault.error_chunk(after=2),
    "broken_json": Fault.bad_json_chunk(after=1),
    "login_page": Fault.html(),
    "empty": Fault.empty_body(),
}
_SHORT_S: Final = 0.5
_DEADLINE_S: Final = 0.3
_NEVER_S: Final = 3600.0
_SLOW_S: Final = 0.3
"""The delay of a slow answer in seconds. A backend that mistakes a timeout of 30 s for 30 ms gives up before this
answer."""
_ENOUGH_S: Final = 30.0


class BrokenUpstream(CanaryTests):
    """Each test injects one fault and checks the error's class, `retryable`, chain and text, and the number of requests.

    The tests need the fixture `broken`.
    """

    routes: ClassVar[Mapping[str, Callable[[Any], Any]]] = {}
    """Endpoints of a protocol that the simulator does not have; see `Simulator(routes=...)`."""
    stream_method: ClassVar[str] = ""
    """The sync name of the streaming method; "" if this kind of backend has none."""

    @pytest.fixture
    def upstream(self) -> Iterator[Simulator]:
        """Start the server that `broken` connects to."""
        with Simulator(routes=self.routes) as upstream:
            yield upstream

    @pytest.fixture
    def broken(self) -> Any:
        """Return a backend that connects to `upstream`. An override takes the fixture `upstream` as its argument."""
        return None

    def make_timed_call(
        self, caller: Caller, timeout_s: float, idle_s: float
    ) -> tuple[Call, dict[str, Any]] | None:
        """Return a call and its options, which set these timeouts; None if the backend does not accept timeouts."""
        del caller, timeout_s, idle_s
        return None

    def make_timed_call_of(
        self, method: str, caller: Caller, timeout_s: float, idle_s: float
    ) -> tuple[Call, dict[str, Any]] | None:
        """Return the call of `make_timed_call`, with its method replaced by *method* unless *method* is empty."""
        timed = self.make_timed_call(caller, timeout_s, idle_s)
        if timed is None or not method:
            return timed
        (_, *args), options = timed
        return (method, *args), options

    def make_trickle(self, method: str) -> Fault:
        """Return a fault whose answer to *method* never ends.

        The server sends white space, which JSON permits anywhere. A stream has two events before the white space.
        """
        return Fault.trickle(2 if method == self.stream_method else 0)

    @requires("broken")
    def test_without_a_fault_the_server_answers(self, broken: Any, request: pytest.FixtureRequest) -> None:
        upstream = _find(request)
        with closing(self.another(broken)) as caller:
            name, *args = self.make_call()
            caller.call(name, *args)
            assert upstream.counts["requests"] == 1, (
                f"one call must send one request to `upstream`, got {upstream.counts['requests']}"
            )

    @requires("broken")
    def test_a_server_that_is_away_is_unavailable(
        self,
        broken: Any,
        canary: str | None,
        request: pytest.FixtureRequest,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        _find(request).close()
        with closing(self.another(broken)) as caller:
            error = self._fail(caller, self.make_call(), "is away", canary, caplog)
            self._check_class(error, (Unavailable,), "is away")

    @pytest.mark.parametrize("status", _STATUSES)
    @requires("broken")
    def test_a_status_becomes_the_error_that_fits(
        self,
        status: str,
        broken: Any,
        canary: str | None,
        request: pytest.FixtureRequest,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        upstream, (fault, expected) = _find(request), _STATUSES[status]
        if canary is not None and status in {"400", "401"}:  # some vendors quote the key in the error
            fault = Fault.status(int(status), message=f"This key is not valid: {canary}")
        upstream.fail(fault, times=None)
        with closing(self.another(broken)) as caller:
            error = self._fail(caller, self.make_call(), f"answers {status}", canary, caplog)
            self._check_class(error, expected, f"answers {status}")
            self._check_once(upstream)
        if status == "429":
            assert getattr(error, "retry_after", None) == _RETRY_AFTER_S, (
                f"retry_after must be {_RETRY_AFTER_S} s as in the answer, got {getattr(error, 'retry_after', None)!r}"
            )

    @pytest.mark.parametrize("cut", _CUT)
    @requires("broken")
    def test_a_cut_answer_is_an_error(
        self,
        cut: str,
        broken: Any,
        canary: str | None,
        request: pytest.FixtureRequest,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        upstream = _find(request)
        upstream.fail(_CUT[cut], times=None)
        with closing(self.another(broken)) as caller:
            self._fail(caller, self.make_call(), f"sends an answer that is cut ({cut})", canary, caplog)
            self._check_once(upstream)

    @pytest.mark.parametrize("cut", _CUT_STREAMS)
    @requires("broken")
    def test_a_cut_stream_does_not_end_well(
        self,
        cut: str,
        broken: Any,
        canary: str | None,
        request: pytest.FixtureRequest,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        if not self.stream_method or cut not in self.find_cut_streams():
            return
        upstream = _find(request)
        upstream.fail(_CUT_STREAMS[cut], times=None)
        with closing(self.another(broken)) as caller:
            if not caller.has(self.stream_method):
                return
            _, *args = self.make_call()
            items: list[Any] = []
            found = self._catch(lambda: items.extend(caller.collect(self.stream_method, *args)))
            if found is None:
                assert not self.is_whole(items), (
                    f"{caller.get_name(self.stream_method)} must raise a ProviderError if the stream is cut ({cut}), ended normally"
                )
            else:
                self._check_failure(
                    found, caller.get_name(self.stream_method), f"cuts a stream ({cut})", canary, caplog
                )
            self._check_once(upstream)

    @requires("broken")
    def test_a_timeout_is_in_seconds(self, broken: Any, request: pytest.FixtureRequest) -> None:
        upstream = _find(request)
        upstream.fail(Fault.slow(_SLOW_S))
        with closing(self.another(broken)) as caller:
            timed = self.make_timed_call(caller, _ENOUGH_S, _ENOUGH_S)
            if timed is None:
                return
            (name, *args), options = timed
            error = self._catch(lambda: caller.call(name, *args, **options))
            assert error is None, (
                f"an answer after {_SLOW_S} s with timeout_s={_ENOUGH_S} raised {type(error).__name__}: {error}"
            )

    @pytest.mark.parametrize("fault", ["silence", "silence_within"])
    @requires("broken")
    def test_a_timeout_ends_the_call(
        self,
        fault: str,
        broken: Any,
        canary: str | None,
        request: pytest.FixtureRequest,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """`timeout_s` must end a call without an answer; `idle_s` must end a call whose answer stops."""
        upstream = _find(request)
        upstream.fail(Fault.hang() if fault == "silence" else Fault.stall(after=2), times=None)
        with closing(self.another(broken)) as caller:
            late_s = 2 * self.deadline_s
            timed = self.make_timed_call(
                caller, *((_SHORT_S, late_s) if fault == "silence" else (late_s, _SHORT_S))
            )
            if timed is None:
                return
            call, options = timed
            error = self._fail(caller, call, "does not answer", canary, caplog, **options)
            self._check_class(error, (Timeout,), "does not answer")

    @requires("broken")
    def test_the_deadline_ends_an_answer_that_trickles(
        self,
        broken: Any,
        canary: str | None,
        request: pytest.FixtureRequest,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """`timeout_s` must end a call whose answer never ends, even if each read of the connection returns quickly."""
        self.check_deadline("", broken, canary, request, caplog)

    @requires("broken")
    def test_the_deadline_ends_a_stream_that_trickles(
        self,
        broken: Any,
        canary: str | None,
        request: pytest.FixtureRequest,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """`timeout_s` must also end a stream that has begun."""
        if self.stream_method:
            self.check_deadline(self.stream_method, broken, canary, request, caplog)

    def find_cut_streams(self) -> Mapping[str, Fault]:
        """Return the faults of streams that this kind of backend can detect."""
        return _CUT_STREAMS

    def is_whole(self, items: list[Any]) -> bool:
        """Return whether the items of a stream mark the answer as complete."""
        del items
        return True

    # -- checks

    def check_deadline(
        self,
        method: str,
        broken: Any,
        canary: str | None,
        request: pytest.FixtureRequest,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Check that *method*, or the method of `make_timed_call` if *method* is empty, ends at its deadline."""
        __tracebackhide__ = True
        upstream = _find(request)
        upstream.fail(self.make_trickle(method), times=None)
        with closing(self.another(broken)) as caller:
            timed = self.make_timed_call_of(method, caller, _DEADLINE_S, _NEVER_S)
            if timed is None or (method and not caller.has(method)):
                return
            call, options = timed
            what = f"sends a byte at a time, without end, and timeout_s is {_DEADLINE_S}"
            error = self._fail(caller, call, what, canary, caplog, **options)
            self._check_class(error, (Timeout,), what)
            is_gone = upstream.wait_for(lambda: upstream.in_flight == 0, self.deadline_s)
            assert is_gone, (
                "after its timeout, a call must close its connection, on which the server still sends"
            )

    @staticmethod
    def _catch(work: Callable[[], Any]) -> Exception | None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - the test checks the error
            return error
        return None

    def _fail(
        self,
        caller: Caller,
        call: Call,
        what: str,
        canary: str | None,
        caplog: pytest.LogCaptureFixture,
        **options: Any,
    ) -> _Failure:
        """Make the call and return its error. Check the error's class, and that error and log do not contain *canary*."""
        __tracebackhide__ = True
        name, *args = call
        results: list[Any] = []
        way = caller.collect if name == self.stream_method else caller.call
        with caplog.at_level(logging.DEBUG):
            error = self._catch(lambda: results.append(way(name, *args, **options)))
        if error is None:
            pytest.fail(
                f"{caller.get_name(name)} must raise a ProviderError if the server {what}, returned {results[0]!r:.100}"
            )
        return self._check_failure(error, caller.get_name(name), what, canary, caplog)

    def _check_failure(
        self, error: Exception, name: str, what: str, canary: str | None, caplog: pytest.LogCaptureFixture
    ) -> _Failure:
        __tracebackhide__ = True
        assert isinstance(error, _Failure), (
            f"{name} must raise a ProviderError if the server {what}, raised {type(error).__name__}: {error}"
        )
        assert error.message.strip(), f"{name} raised {type(error).__name__} without a message"
        foreign = self.foreign(error)
        assert not foreign, (
            f"{name} chains {foreign[0]!r:.100} to its error: use llmcore.support.errors.raise_unchained"
        )
        if canary is not None:
            shown = "".join(traceback.format_exception(error)) + repr(vars(error))
            assert canary not in shown, "the key is in an error"
            assert canary not in caplog.text, "the key is in the log"
        return error

    @staticmethod
    def _check_class(error: LLMCoreError, expected: tuple[type[LLMCoreError], ...], what: str) -> None:
        """Check the error's class, and that `retryable` is correct for that class."""
        __tracebackhide__ = True
        names = " or ".join(kind.__name__ for kind in expected)
        assert isinstance(error, expected), (
            f"the error must be {names} if the server {what}, got {type(error).__name__}: {error.message}"
        )
        allowed = {getattr(kind, "retryable", False) for kind in expected if isinstance(error, kind)}
        assert getattr(error, "retryable", False) in allowed, (
            f"{type(error).__name__}.retryable must be {allowed.pop()} if the server {what}"
        )

    @staticmethod
    def _check_once(upstream: Simulator) -> None:
        __tracebackhide__ = True
        count = upstream.counts["requests"]
        assert count == 1, f"a failed call must send one request, sent {count}: only the host retries"


def _find(request: pytest.FixtureRequest) -> Simulator:
    """Return the simulator that `broken` connects to."""
    upstream = request.getfixturevalue("upstream")
    assert isinstance(upstream, Simulator), "the fixture `upstream` must be a Simulator"
    return upstream
