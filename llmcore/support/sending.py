"""Report the moment when the first byte of a request is sent. A request that was not sent costs nothing.

A call can end while its request waits for a connection, for example at its deadline or by a cancellation. The host
cannot see whether such a request was sent, and the server may bill a sent one. So the host records the maximum cost,
unless the provider called `track_sending` but not `mark_sent`, or raised an error with `sent=False`. Reporting is
optional and takes two lines:

    def complete(self, request):
        track_sending()          # at the start, before anything waits
        ...

    def write(self, data):       # in the transport, in the same thread or task
        mark_sent()              # immediately before the first byte is written
        self._socket.sendall(data)

An observer may add HTTP headers to a request, such as `traceparent`. A provider that uses HTTP sends them:

    headers = {**own_headers, **dict(get_headers())}
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Final

from llmcore.errors import ProviderError

__all__ = ["Sending", "get_headers", "mark_sent", "track_sending"]


class Sending:
    """The state of one request: sent or not sent. The provider sets the state, and the host reads it.

    The object is thread-safe. The host may withdraw a request that has not left. After that, `mark_sent` raises. So a
    request that the host books as unsent is never sent.
    """

    __slots__ = ("_began", "_permit", "_sent", "_tracked", "_withdrawn", "headers")

    def __init__(self) -> None:
        self.headers: tuple[tuple[str, str], ...] = ()
        """The HTTP headers that observers add to the request."""
        self._permit: list[None] = [None]
        """A list with one item.

        The sender pops the item before it sends, or the host pops it to withdraw the request. `list.pop` is
        atomic.
        """
        self._began = self._tracked = self._sent = self._withdrawn = False

    def begin(self) -> None:
        """Record that the host calls the provider.

        From now on the request counts as sent, because the host cannot see when it leaves. After `track_sending`, it
        counts as not sent until `mark_sent`.

        Raises:
            ProviderError: The request was withdrawn.
        """
        if not self._began:
            self._take()
            self._began = True

    def track(self) -> None:
        """Record that the provider will report when the request leaves.

        Until that report, the request counts as not sent.
        """
        if not self._tracked:
            self._tracked = True
            if self._began:
                self._permit.append(None)

    def mark_sent(self) -> None:
        """Record that the first byte is about to leave. Further calls for the same request do nothing.

        Raises:
            ProviderError: The request was withdrawn, and must not be sent.
        """
        if self._tracked and not self._sent:
            self._take()
            self._sent = True

    def withdraw(self) -> bool:
        """Prevent the request from leaving. Return False if the request was already sent."""
        if not self._withdrawn:
            try:
                self._permit.pop()
            except IndexError:
                return False
            self._withdrawn = True
        return True

    @property
    def is_tracked(self) -> bool:
        """True if the provider reports when the request leaves."""
        return self._tracked

    def blocking(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call the provider's method that sends this request."""
        self.begin()
        outer = _current.get()
        _current.set(self)
        try:
            return function(*args)
        finally:
            _current.set(outer)

    async def awaiting(self, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """See `blocking`."""
        self.begin()
        outer = _current.get()
        # not `ContextVar.reset(token)`: a coroutine left over from a closed event loop may end in another context, where
        # the token is invalid
        _current.set(self)
        try:
            return await function(*args)
        finally:
            _current.set(outer)

    def _take(self) -> None:
        try:
            self._permit.pop()
        except IndexError:
            withdrawn = True
        else:
            withdrawn = False
        if withdrawn:
            raise ProviderError("the call ended before its request was sent", sent=False)


_current: Final[ContextVar[Sending | None]] = ContextVar("llmcore_sending", default=None)


def track_sending() -> None:
    """Tell the host that `mark_sent` will be called when the request leaves.

    Outside of a call of the host, do nothing.
    """
    sending = _current.get()
    if sending is not None:
        sending.track()


def get_headers() -> tuple[tuple[str, str], ...]:
    """Return the HTTP headers that observers add to the current request, each as name and value."""
    sending = _current.get()
    return () if sending is None else sending.headers


def mark_sent() -> None:
    """Report that the first byte of the request is about to leave.

    Without `track_sending`, do nothing: the request already counts as sent.

    Raises:
        ProviderError: The call has ended meanwhile: do not send the request.
    """
    sending = _current.get()
    if sending is not None:
        sending.mark_sent()
