"""Find the cache operations for which the Redis user lacks permissions.

Each command uses a new test key and is harmless.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final

from llmcore.errors import CacheError
from llmcore_cache_redis.errors import ReplyError
from llmcore_cache_redis.leases import ACQUIRE, RELEASE, delete_if_held
from llmcore_cache_redis.names import Names
from llmcore_cache_redis.server_finder import Plan, ServerFinder, call
from llmcore_cache_redis.wire import pack_command

__all__ = ["find_unavailable"]

_PROBE: Final = "llmcore diagnosis "


def find_unavailable(
    finder: ServerFinder, names: Names, translate_error: Callable[[ReplyError], CacheError], *, watches: bool
) -> Plan[dict[str, str]]:
    """Return the methods of the cache that fail or are limited, because the server refuses their commands.

    The result is: name of a method -> the reason in one line; see `CacheDiagnosis`.

    Args:
        finder: The finder to the server.
        names: The names of the namespace.
        translate_error: Returns the `CacheError` for a refusal.
        watches: True if this kind of server can report changes, so that `watch` is checked too.

    Raises:
        Broken: The server does not answer.
        ReplyError: The server refuses every command.
    """
    key = _PROBE + secrets.token_hex(8)
    name = names.name_entry(key)
    checks: list[tuple[tuple[str, ...], tuple[bytes, ...]]] = [
        (("get", "get_many"), (b"GETRANGE", name, b"0", b"0")),
        (("set",), (b"SET", name, b"", b"XX", b"PX", b"1")),
        (("delete", "clear", "delete_matching"), (b"UNLINK", name)),
        (("keys", "clear", "delete_matching"), (b"SCAN", b"0", b"MATCH", names.make_glob(), b"COUNT", b"1")),
    ]
    if watches:
        checks.append((("watch",), (b"CLIENT", b"TRACKING", b"OFF")))
    found: dict[str, str] = {}
    for methods, words in checks:
        refused = yield from _ask(finder, name, *words)
        if refused is not None:
            found |= {
                method: _get_reason(translate_error(refused)) for method in methods if method not in found
            }
    return found | (yield from _find_unavailable_leases(finder, names.name_lease(key), translate_error))


def _find_unavailable_leases(
    finder: ServerFinder, name: bytes, translate_error: Callable[[ReplyError], CacheError]
) -> Plan[dict[str, str]]:
    holder = secrets.token_bytes(8)
    script = yield from _ask(finder, name, b"EVAL", ACQUIRE, b"1", name, holder, b"1000")
    if script is None:
        script = yield from _ask(finder, name, b"EVAL", RELEASE, b"1", name, holder)
        if script is None:
            return {}
    reason = _get_reason(translate_error(script))
    plain = yield from _ask(finder, name, b"SET", name, holder, b"XX", b"PX", b"1")
    if plain is not None:
        return dict.fromkeys(("acquire", "release"), _get_reason(translate_error(plain)))
    found = {"acquire": f"{reason}: leases are acquired by SET NX PX"}
    transaction = yield from delete_if_held(finder, name, holder)
    if transaction is not None:
        found["release"] = (
            f"{_get_reason(translate_error(transaction))}: leases are not released, they expire"
        )
    return found


def _ask(finder: ServerFinder, name: bytes, *words: bytes) -> Plan[ReplyError | None]:
    """Return the refusal of a command; None if it is accepted."""
    try:
        yield from call(finder, name, pack_command(words))
    except ReplyError as error:
        if error.is_outage:
            raise
        return error
    return None


def _get_reason(error: CacheError) -> str:
    return error.message.removeprefix("Redis refuses: ")
