"""The operations of the cache as plans, which yield commands for servers."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any, Final

from llmcore.support.key_patterns import compile_pattern
from llmcore_cache_redis import entry_codec
from llmcore_cache_redis.address import Address
from llmcore_cache_redis.errors import Broken, ReplyError
from llmcore_cache_redis.names import Names
from llmcore_cache_redis.server_finder import Plan, ServerFinder, call
from llmcore_cache_redis.wire import ServerCommands, extend_timeout, pack_command

__all__ = ["Operations", "pack_first_read", "pack_write"]

_LOOKS: Final = 4
_BATCH: Final = 1000
_MANY: Final = 64
_BULK_S: Final = 1.0
"""Minimum timeout in seconds for the commands of an operation that are sent together on a whole namespace."""
_MAX_TTL_S: Final = 10**12
_LAST: Final = str(entry_codec.FIRST_BYTES - 1).encode()


def pack_first_read(name: bytes) -> bytes:
    """Return the command that reads the first `FIRST_BYTES` bytes of an entry. A small entry is read completely."""
    return pack_command((b"GETRANGE", name, b"0", _LAST))


def pack_write(name: bytes, value: bytes, ttl: float | None) -> bytes:
    """Return the command that writes *value*."""
    entry = entry_codec.pack(name, value)
    if ttl is None or ttl >= _MAX_TTL_S:
        return pack_command((b"SET", name, entry))
    return pack_command((b"SET", name, entry, b"PX", max(1, ceil(ttl * 1000))))


class Operations:
    """The operations of one namespace. Each public method returns a plan; see `server_finder.Plan`."""

    def __init__(self, finder: ServerFinder, names: Names, timeout: float, max_value: int) -> None:
        self._finder = finder
        self._names = names
        self._timeout = timeout
        self._bulk = max(timeout, _BULK_S)
        self._max_value = max_value

    def get(self, name: bytes, data: object = None) -> Plan[bytes | None]:
        """Return the value; None for a miss. *data* is the reply to `pack_first_read` if the caller has sent that command."""
        try:
            if data is None:
                data = yield from call(self._finder, name, pack_first_read(name))
            for _ in range(_LOOKS):
                value = entry_codec.unpack(data, name)
                size = entry_codec.compute_size(data, name)
                if value is not None or not self._has_more(data, size):
                    return value
                wanted = pack_command((b"GETRANGE", name, b"0", size - 1))
                data = yield from call(self._finder, name, wanted, extend_timeout(self._timeout, size))
        except ReplyError as error:
            if error.code != "WRONGTYPE":
                raise
        return None

    def set(self, name: bytes, value: bytes, ttl: float | None) -> Plan[None]:
        """Write the value."""
        payload = pack_write(name, value, ttl)
        yield from call(self._finder, name, payload, extend_timeout(self._timeout, len(payload)))

    def delete(self, name: bytes) -> Plan[bool]:
        """Delete *name*; return whether it existed."""
        return bool((yield from call(self._finder, name, pack_command((b"UNLINK", name)))))

    def get_many(self, keys: Sequence[str]) -> Plan[dict[str, bytes]]:
        """Return the existing values. One exchange with a server reads up to 64 keys."""
        found: dict[str, bytes] = {}
        by_server: dict[Address, list[tuple[str, bytes]]] = {}
        for key in dict.fromkeys(keys):
            name = self._names.name_entry(key)
            address = self._finder.get_address(name) or (yield from self._finder.find(name))
            by_server.setdefault(address, []).append((key, name))
        for address, pairs in by_server.items():
            for start in range(0, len(pairs), _MANY):
                found.update((yield from self._get_some(address, pairs[start : start + _MANY])))
        return {key: found[key] for key in keys if key in found}

    def keys(self, address: Address, cursor: bytes) -> Plan[tuple[bytes, list[str]]]:
        """Read some keys of one server. Return the next cursor, which is `0` at the end, and the keys."""
        cursor, names = yield from self._scan(address, cursor, self._names.make_glob())
        keys = [key for name in names if (key := self._names.parse_key(name)) is not None]
        return cursor, keys

    def clear(self) -> Plan[None]:
        """Delete every key of the namespace."""
        yield from self.delete_matching("*")

    def delete_matching(self, pattern: str) -> Plan[int]:
        """Delete the keys that match *pattern*; return how many."""
        matches = compile_pattern(pattern)
        glob, everything = self._names.make_glob(pattern), not pattern.strip("*")
        count = 0
        for address in (yield from self._finder.find_masters()):
            cursor = b"0"
            while True:
                cursor, names = yield from self._scan(address, cursor, glob)
                doomed = [name for name in names if everything or matches(self._names.parse_key(name) or "")]
                if doomed:
                    count += yield from self._unlink(address, doomed)
                if cursor == b"0":
                    break
        return count

    def _has_more(self, data: object, size: int) -> bool:
        """Return whether *data* is only the beginning of an entry, and the size of the whole entry is allowed."""
        cut = type(data) is bytes and len(data) >= entry_codec.FIRST_BYTES and len(data) != size
        return cut and entry_codec.FIRST_BYTES < size <= self._max_value + entry_codec.HEADER_BYTES

    def _get_some(self, address: Address, pairs: Sequence[tuple[str, bytes]]) -> Plan[dict[str, bytes]]:
        found = {}
        payload = b"".join(pack_first_read(name) for _, name in pairs)
        wait = extend_timeout(self._timeout, len(pairs) * entry_codec.FIRST_BYTES)
        try:
            replies: list[Any] = yield ServerCommands(address, payload, len(pairs), wait)
        except Broken as error:
            self._finder.doubt(address)
            if not error.stale:
                raise
            replies = [None] * len(pairs)  # read each of these entries separately
        for (key, name), reply in zip(pairs, replies, strict=True):
            value = yield from self.get(name, None if isinstance(reply, ReplyError) else reply)
            if value is not None:
                found[key] = value
        return found

    def _scan(self, address: Address, cursor: bytes, glob: bytes) -> Plan[tuple[bytes, list[bytes]]]:
        reply = yield from self._ask(
            address, pack_command((b"SCAN", cursor, b"MATCH", glob, b"COUNT", _BATCH)), 1
        )
        cursor, names = reply[0]
        return cursor, names

    def _unlink(self, address: Address, names: Sequence[bytes]) -> Plan[int]:
        # One command per name, since a Cluster does not accept names of several slots in one command.
        payload = b"".join(pack_command((b"UNLINK", name)) for name in names)
        return sum((yield from self._ask(address, payload, len(names))))

    def _ask(self, address: Address, payload: bytes, count: int) -> Plan[list[Any]]:
        stale = False
        replies: list[Any] = []
        try:
            replies = yield ServerCommands(address, payload, count, self._bulk)
        except Broken as error:
            self._finder.doubt(address)
            if not error.stale:
                raise
            stale = True
        if stale:
            replies = yield ServerCommands(address, payload, count, self._bulk)
        for reply in replies:
            if isinstance(reply, ReplyError):
                if reply.code in {"READONLY", "MOVED", "CLUSTERDOWN"}:
                    self._finder.doubt(address)
                raise reply
        return replies
