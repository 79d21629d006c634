"""Shared rate limits on Redis, sync and async. Their connections and timeouts are separate from those of the cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from llmcore.errors import CacheError
from llmcore.support.errors import raise_unchained
from llmcore.support.limit_values import PermitAnswer, PermitRequest, PermitReturn, ProcessReport
from llmcore_cache_redis.address import Target
from llmcore_cache_redis.drivers import Asynchronous, Blocking, Servers
from llmcore_cache_redis.errors import Broken, ReplyError
from llmcore_cache_redis.leases import is_command_refused
from llmcore_cache_redis.names import Names
from llmcore_cache_redis.options import RedisOptions
from llmcore_cache_redis.rate_limits import RateLimits
from llmcore_cache_redis.server_finder import make_finder

__all__ = ["LimitStore"]

_RIGHTS: Final = "+@read +@write +@scripting +@connection +time"
"""The rights of a Redis user that the scripts of the rate limits need."""


class LimitStore:
    """Implements `CacheRateLimits` of `llmcore.contracts`. The first call connects."""

    def __init__(
        self,
        target: Target,
        options: RedisOptions,
        names: Names,
        translate_error: Callable[[Broken | ReplyError], CacheError],
    ) -> None:
        """Use the server of *target*. *translate_error* returns the error for a failure."""
        self._translate_error = translate_error
        self._user = target.username or "default"
        self._timeout = float(options.limit_timeout)
        servers = Servers(target, options, max(self._timeout, float(options.connect_timeout)))
        self._limits = RateLimits(make_finder(target, servers.connect_timeouts.whole), names)
        self._blocking = Blocking(servers)
        self._asynchronous = Asynchronous(servers)

    def request_permit(self, request: PermitRequest, timeout: float) -> PermitAnswer:
        """See `CacheRateLimits.request_permit`."""
        try:
            return self._blocking.run(self._limits.request(request, min(timeout, self._timeout)))
        except (Broken, ReplyError) as error:
            raise_unchained(self._make_error(error))

    async def arequest_permit(self, request: PermitRequest, timeout: float) -> PermitAnswer:  # noqa: ASYNC109 - the sync method has the same parameter
        """See `CacheRateLimits.request_permit`."""
        try:
            return await self._asynchronous.run(self._limits.request(request, min(timeout, self._timeout)))
        except (Broken, ReplyError) as error:
            raise_unchained(self._make_error(error))

    def return_permits(self, returns: Sequence[PermitReturn]) -> None:
        """See `CacheRateLimits.return_permits`."""
        try:
            self._blocking.run(self._limits.give_back(returns, self._timeout))
        except (Broken, ReplyError) as error:
            raise_unchained(self._make_error(error))

    def report_process(self, report: ProcessReport) -> int:
        """See `CacheRateLimits.report_process`."""
        try:
            return self._blocking.run(self._limits.report(report, self._timeout))
        except (Broken, ReplyError) as error:
            raise_unchained(self._make_error(error))

    def _make_error(self, error: Broken | ReplyError) -> CacheError:
        fault = self._translate_error(error)
        if isinstance(error, ReplyError) and is_command_refused(error):
            fault.expected = f"a user with the rights {_RIGHTS}"
            fault.fix = f"redis-cli ACL SETUSER {self._user} {_RIGHTS}"
        return fault

    def close(self) -> None:
        """Close every blocking connection."""
        self._blocking.close()

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        await self._asynchronous.aclose()
