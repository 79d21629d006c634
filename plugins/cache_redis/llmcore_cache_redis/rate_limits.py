"""Rate limits that processes share: the methods of `CacheRateLimits`, as plans (see `server_finder.Plan`).

Each plan runs a Lua script, which the server executes atomically.

The keys of one provider contain the hash tag `{provider}`, so in a Cluster they are in one slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from hashlib import sha1
from pathlib import Path
from typing import Any, Final, NamedTuple

from llmcore.support.limit_values import (
    BURST_S,
    LimitScope,
    PermitAnswer,
    PermitRequest,
    PermitReturn,
    ProcessReport,
)
from llmcore_cache_redis.address import Address
from llmcore_cache_redis.errors import Broken, ReplyError
from llmcore_cache_redis.names import Names
from llmcore_cache_redis.server_finder import Plan, ServerFinder, call
from llmcore_cache_redis.wire import ServerCommands, pack_command

__all__ = ["RateLimits", "load_script"]

_US: Final = 1_000_000
_NEVER_US: Final = 10**15
"""The time that stands for an unlimited wait, in microseconds: about 30 years."""
_UNKNOWN: Final = (b"-1", b"-1")
_FOLDER: Final = Path(__file__).parent / "scripts"
_KNOWN: Final = 1024
"""The maximum number of scopes whose keys and rates are cached."""


class _Script(NamedTuple):
    text: bytes
    digest: bytes

    def make_command(self, keys: Sequence[bytes], values: Sequence[bytes], *, whole: bool = False) -> bytes:
        """Return the command that runs the script. The command contains the script's digest, or its text if *whole*."""
        name = (b"EVAL", self.text) if whole else (b"EVALSHA", self.digest)
        return pack_command((*name, b"%d" % len(keys), *keys, *values))


@cache
def load_script(name: str) -> _Script:
    """Return the script *name* of the folder `scripts`."""
    text = (_FOLDER / "common.lua").read_bytes() + (_FOLDER / f"{name}.lua").read_bytes()
    return _Script(text, sha1(text, usedforsecurity=False).hexdigest().encode())


class _Scope(NamedTuple):
    """The keys and the numbers of one scope, as the scripts expect them."""

    keys: tuple[bytes, bytes, bytes, bytes]
    """The keys of the parts `state`, `slots`, `queue` and `absent`."""
    rates: tuple[bytes, ...]
    """The cost of a request, the burst of requests, the cost of a token and the burst of tokens, each as the
    microseconds in which the bucket refills this amount. Then the number of slots."""


class RateLimits:
    """The rate limits of one namespace. Each public method returns a plan; see `server_finder.Plan`."""

    def __init__(self, finder: ServerFinder, names: Names) -> None:
        self._finder = finder
        self._names = names
        self._scopes: dict[tuple[str, LimitScope], _Scope] = {}

    def request(self, request: PermitRequest, timeout: float) -> Plan[PermitAnswer]:
        """See `CacheRateLimits.request_permit`."""
        scopes = [self._get_scope(request.provider, scope) for scope in request.scopes]
        values = [
            request.id.encode(),
            b"%d" % request.tokens,
            b"%d" % request.arrived,
            _format_us(request.patience_s),
            _format_us(request.lease_s),
            request.id.partition(":")[0].encode(),
            b"%d" % request.processes,
        ]
        for scope, debts in zip(scopes, request.debts_s or (None,) * len(scopes), strict=True):
            values += (*scope.rates, *(map(_format_us, debts) if debts else _UNKNOWN))
        keys = [*self._make_keys(request.provider), *(key for scope in scopes for key in scope.keys)]
        reply = yield from self._run("request", keys, values, timeout)
        if not reply[0]:
            wait, pause, arrived, wants_report = reply[1:]
            return PermitAnswer(
                granted=False,
                wait_s=None if wait < 0 else wait / _US,
                pause_s=pause / _US,
                arrived=arrived,
                wants_report=bool(wants_report),
            )
        left = [debt / _US for debt in reply[2:]]
        return PermitAnswer(
            granted=True, ticket=reply[1], debts_s=tuple(zip(left[::2], left[1::2], strict=True))
        )

    def give_back(self, returns: Sequence[PermitReturn], timeout: float) -> Plan[None]:
        """See `CacheRateLimits.return_permits`. One write to each server contains all its commands."""
        by_server: dict[Address, list[tuple[list[bytes], list[bytes]]]] = {}
        for item in returns:
            scopes = [self._get_scope(item.provider, scope) for scope in item.scopes]
            keys = [key for scope in scopes for key in scope.keys]
            values = [item.id.encode(), b"%d" % item.tokens, b"%d" % item.ticket, b"%d" % item.unused]
            for scope in scopes:
                values += scope.rates[2:4]
            address = self._finder.get_address(keys[0]) or (yield from self._finder.find(keys[0]))
            by_server.setdefault(address, []).append((keys, values))
        script = load_script("return")
        for address, calls in by_server.items():
            payload = b"".join(script.make_command(keys, values) for keys, values in calls)
            replies: Sequence[Any] = ()
            try:
                replies = yield ServerCommands(address, payload, len(calls), timeout)
            except Broken as error:
                self._finder.doubt(address)
                if not error.stale:
                    raise
                replies = [ReplyError("STALE")] * len(calls)  # the server has executed none of *calls*
            for (keys, values), reply in zip(calls, replies, strict=True):
                if isinstance(reply, ReplyError):
                    yield from self._run("return", keys, values, timeout)

    def report(self, report: ProcessReport, timeout: float) -> Plan[int]:
        """See `CacheRateLimits.report_process`."""
        keys = [*self._make_keys(report.provider)]
        values = [report.process.encode(), _format_us(report.lease_s), b"%d" % report.processes]
        for item in report.scopes:
            scope = self._get_scope(report.provider, item.scope)
            keys += scope.keys[:2]
            values += [_format_us(seconds) for seconds in (*item.debts_s, *item.spent_s)]
            values += [scope.rates[1], scope.rates[3], b"%d" % len(item.held)]
            values += [call_id.encode() for call_id in item.held]
        return int((yield from self._run("report", keys, values, timeout)))

    def _run(self, name: str, keys: Sequence[bytes], values: Sequence[bytes], timeout: float) -> Plan[Any]:
        script = load_script(name)
        try:
            return (yield from call(self._finder, keys[0], script.make_command(keys, values), timeout))
        except ReplyError as error:
            if error.code != "NOSCRIPT":
                raise
        whole = script.make_command(keys, values, whole=True)
        return (yield from call(self._finder, keys[0], whole, timeout))

    def _get_scope(self, provider: str, scope: LimitScope) -> _Scope:
        found = self._scopes.get((provider, scope))
        if found is None:
            if len(self._scopes) >= _KNOWN:
                self._scopes.clear()
            found = self._scopes[provider, scope] = self._make_scope(provider, scope)
        return found

    def _make_scope(self, provider: str, scope: LimitScope) -> _Scope:
        model = scope.name.removeprefix(provider).encode("utf-8", "surrogatepass")
        state, slots, queue, absent = (
            self._make_key(provider, model, part) for part in (b"state", b"slots", b"queue", b"absent")
        )
        rates: list[bytes] = []
        for rate in (scope.requests_per_minute, scope.tokens_per_minute):
            cost = 60.0 / rate if rate else 0.0
            rates += [b"%.6f" % (cost * _US), _format_us(max(BURST_S, cost))]
        return _Scope((state, slots, queue, absent), (*rates, b"%d" % (scope.concurrency or 0)))

    def _make_keys(self, provider: str) -> tuple[bytes, bytes]:
        return self._make_key(provider, b"", b"processes"), self._make_key(provider, b"", b"missing")

    def _make_key(self, provider: str, model: bytes, part: bytes) -> bytes:
        return self._names.name_rate_limits(provider) + part + model


def _format_us(seconds: float) -> bytes:
    return b"%d" % min(_NEVER_US, max(0, round(min(seconds, _NEVER_US) * _US)))
