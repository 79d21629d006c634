"""Leases on keys: by scripts, or by SET NX PX and transactions if the user may not run scripts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from math import ceil
from typing import Any, Final

from llmcore.errors import CacheError
from llmcore_cache_redis.errors import Broken, ReplyError, find_refused_command
from llmcore_cache_redis.server_finder import Plan, ServerFinder, call
from llmcore_cache_redis.wire import Request, ServerCommands, pack_command

__all__ = ["ACQUIRE", "RELEASE", "Leases", "delete_if_held", "is_command_refused"]

_log: Final = logging.getLogger("llmcore.cache_redis")
ACQUIRE: Final = (
    b"local held = redis.call('GET', KEYS[1]) if held and held ~= ARGV[1] then return 0 end "
    b"redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1"
)
RELEASE: Final = (
    b"if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
)
_RETRY_S: Final = 60.0
"""Seconds from a refusal until scripts are tried again. The user may have received the right in the meantime."""


def is_command_refused(error: ReplyError) -> bool:
    """Return whether *error* means that the user may not run a command, or may not run it in a script."""
    text = str(error)
    return (
        bool(find_refused_command(error))
        or "can't run this command" in text
        or "unknown command" in text.lower()
    )


class Leases:
    """Acquires and releases the leases of one namespace. Each method returns a plan; see `server_finder.Plan`.

    Without scripts, a lease still has only one holder, but a renewal is not atomic. If the lease expires during the
    renewal and another holder acquires it, the renewal may extend the other holder's lease, by at most the TTL.
    """

    def __init__(
        self,
        finder: ServerFinder,
        name: Callable[[str], bytes],
        translate_error: Callable[[ReplyError], CacheError],
    ) -> None:
        """Use scripts until the server refuses a script.

        Args:
            finder: The finder to the servers.
            name: Returns the name under which the server stores the lease on a key.
            translate_error: Returns the `CacheError` for a refusal.
        """
        self._finder = finder
        self._name = name
        self._translate_error = translate_error
        self._scripts_from = 0.0
        """The time from which scripts are tried, by `time.monotonic`. After a refusal, this is `_RETRY_S` in the future."""
        self._warned: set[str] = set()

    def acquire(self, key: str, holder: str, ttl: float) -> Plan[bool]:
        """Acquire or renew the lease."""
        name, value, time_ms = self._name(key), holder.encode(), max(1, ceil(ttl * 1000))
        refused: ReplyError | None = None
        if self._may_use_scripts():
            script = pack_command((b"EVAL", ACQUIRE, b"1", name, value, time_ms))
            try:
                return bool((yield from call(self._finder, name, script)))
            except ReplyError as error:
                if not is_command_refused(error):
                    raise
                refused = error
        is_acquired = yield from self._acquire_by_commands(name, value, time_ms)
        if refused is not None:
            self._scripts_from = time.monotonic() + _RETRY_S
            self._warn_once(refused, "leases are acquired by SET NX PX")
        return is_acquired

    def release(self, key: str, holder: str) -> Plan[None]:
        """Release the lease, if *holder* has it."""
        name, value = self._name(key), holder.encode()
        if self._may_use_scripts():
            try:
                yield from call(self._finder, name, pack_command((b"EVAL", RELEASE, b"1", name, value)))
            except ReplyError as error:
                if not is_command_refused(error):
                    raise
            else:
                return
        refused = yield from delete_if_held(self._finder, name, value)
        if refused is not None:
            self._warn_once(refused, "leases are not released, they expire")

    def _acquire_by_commands(self, name: bytes, holder: bytes, time_ms: int) -> Plan[bool]:
        is_acquired = yield from call(
            self._finder, name, pack_command((b"SET", name, holder, b"NX", b"PX", time_ms))
        )
        if is_acquired is not None:
            return True
        held = pack_command((b"GET", name))
        if (yield from call(self._finder, name, held)) != holder:
            return False
        # Between the GET above and the PEXPIRE below, the lease may expire and another holder may acquire it. So read the
        # holder again.
        yield from call(self._finder, name, pack_command((b"PEXPIRE", name, time_ms)))
        return bool((yield from call(self._finder, name, held)) == holder)

    def _may_use_scripts(self) -> bool:
        return time.monotonic() >= self._scripts_from

    def _warn_once(self, refused: ReplyError, consequence: str) -> None:
        if consequence not in self._warned:
            self._warned.add(consequence)
            error = self._translate_error(refused)
            _log.warning("%s: %s; fix: %s", error.message, consequence, error.fix)


def delete_if_held(finder: ServerFinder, name: bytes, holder: bytes) -> Plan[ReplyError | None]:
    """Delete the lease *name* in a transaction if *holder* has it.

    Return the refusal if the user may not run a command of the transaction. If the transaction fails, the lease stays
    until it expires.
    """

    def decide(replies: list[Any]) -> Request:
        watched, held, begun = replies
        if isinstance(begun, ReplyError):
            return Request(pack_command((b"UNWATCH",)), 1)
        if isinstance(watched, ReplyError) or held != holder:
            return Request(pack_command((b"DISCARD",)), 1)
        return Request(pack_command((b"DEL", name)) + pack_command((b"EXEC",)), 2)

    address = finder.get_address(name) or (yield from finder.find(name))
    look = pack_command((b"WATCH", name)) + pack_command((b"GET", name)) + pack_command((b"MULTI",))
    try:
        replies = yield ServerCommands(address, look, 3, then=decide)
    except Broken as error:
        finder.doubt(address)
        if not error.stale:
            raise
        return None
    refusals = [reply for reply in replies if isinstance(reply, ReplyError) and is_command_refused(reply)]
    return refusals[0] if refusals else None
