"""A connection pool for one server. Each connection is a `pymemcache.Client`, which one thread at a time uses."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Final, TypeVar

from pymemcache.client.base import Client

from llmcore.errors import CacheError
from llmcore.support import forks
from llmcore.support.errors import raise_unchained
from llmcore.support.name_lookup import look_up
from llmcore_cache_memcached.address import Address
from llmcore_cache_memcached.errors import is_stale, translate_error
from llmcore_cache_memcached.options import MemcachedOptions
from llmcore_cache_memcached.tls import HostContext

__all__ = ["Connections"]

T = TypeVar("T")
_LOOKUP_S: Final = 1.5
"""The time limit in seconds for looking up the host name of the server."""
_AUTH_KEY: Final = "llmcore"
"""The key of the `set` command that sends user name and password. The server ignores this key."""


class Connections:
    """Runs operations on idle or new connections to *address*.

    Args:
        address: The server.
        options: Timeouts, user name and password.
        context: The TLS context; None for plain text.
    """

    def __init__(self, address: Address, options: MemcachedOptions, context: ssl.SSLContext | None) -> None:
        self.address = address
        self._options = options
        self._context = None if context is None or not address.port else HostContext(context, address.host)
        self._closed = False
        self._idle: list[Client] = []
        forks.watch(self)

    def after_fork(self) -> None:
        """Close this process's copies of the parent's connections; see `forks.ForkAware`."""
        self._close_idle()

    def run(self, operation: Callable[[Client], T], size: int = 0) -> T:
        """Run *operation* and return its result. Run it once more if the server had closed the idle connection.

        Args:
            operation: Sends commands that are safe to send twice.
            size: The size of the written value in bytes, for the error.

        Raises:
            CacheError: The server refused the command.
            CacheUnavailable: The server did not answer.
        """
        try:
            client = self._idle.pop()
        except IndexError:
            return self._run(operation, None, size)
        try:
            return self._run(operation, client, size)
        except _StaleError:
            self._close_idle()  # the server has probably closed the other idle connections too
        return self._run(operation, None, size)

    def close(self) -> None:
        """Close idle connections now, and busy connections after their command."""
        self._closed = True
        self._close_idle()

    def _run(self, operation: Callable[[Client], T], idle: Client | None, size: int) -> T:
        client = idle
        try:
            if client is None:
                client = self._connect()
            result = operation(client)
        except Exception as error:
            if client is not None:
                client.close()
            if isinstance(error, CacheError):
                raise
            if idle is not None and is_stale(error):
                raise_unchained(_StaleError())
            raise_unchained(self._translate_error(error, size))
        except (
            BaseException
        ):  # a reply may still arrive, and must not be read as the answer to the next command
            if client is not None:
                client.close()
            raise
        if self._closed or len(self._idle) >= self._options.max_idle_connections:
            client.close()
        else:
            self._idle.append(client)
        return result

    def _connect(self) -> Client:
        """Connect to the first address of the host that accepts a connection, and authenticate.

        pymemcache would try only the first address. For `localhost`, this may be an IPv6 address on which
        memcached does not listen.
        """
        if not self.address.port:
            return self._greet(self.address.host)
        found = look_up(self.address.host, self.address.port, _LOOKUP_S)
        for *_, address in found[:-1]:
            try:
                return self._greet((str(address[0]), int(address[1])))
            except (ConnectionError, OSError) as error:
                if isinstance(error, TimeoutError | ssl.SSLError):
                    raise
        return self._greet((str(found[-1][4][0]), int(found[-1][4][1])))

    def _greet(self, server: str | tuple[str, int]) -> Client:
        """Connect, and send a first command, which shows that the server answers like memcached."""
        options = self._options
        client = Client(
            server,
            connect_timeout=float(options.connect_timeout),
            timeout=float(options.timeout),
            no_delay=True,
            default_noreply=False,
            tls_context=self._context,
        )
        try:
            if options.password is None:
                client.version()
            else:
                login = f"{options.username or ''} {options.password.reveal()}"
                client.set(_AUTH_KEY, login.encode(), noreply=False)
        except BaseException:
            client.close()
            raise
        return client

    def _translate_error(self, error: Exception, size: int) -> CacheError:
        options = self._options
        timeout_s = float(max(options.timeout, options.connect_timeout))
        return translate_error(
            error, str(self.address), tls=self._context is not None, timeout_s=timeout_s, size=size
        )

    def _close_idle(self) -> None:
        idle, self._idle = self._idle, []
        for client in idle:
            client.close()


class _StaleError(Exception):
    """The server had closed an idle connection."""
