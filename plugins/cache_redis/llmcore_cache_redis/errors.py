"""Errors of a server, in texts that show neither password nor key."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from redis.exceptions import ResponseError

from llmcore.errors import CacheError, CacheUnavailable
from llmcore_cache_redis.address import Target

__all__ = ["Broken", "ReplyError", "find_refused_command", "make_refusal", "make_too_large_error"]


class ReplyError(ResponseError):  # type: ignore[misc, unused-ignore]
    """An error reply of the server, including its code."""

    by_sentinel = False
    """True if a Sentinel sent the error. Sentinels have separate users and passwords."""

    @property
    def code(self) -> str:
        """The first word, such as READONLY."""
        return str(self).partition(" ")[0]

    @property
    def is_outage(self) -> bool:
        """True if the server answers every command with this error."""
        return self.code in _DOWN


class Broken(Exception):
    """A connection was not made or was lost. Do not use the connection again."""

    def __init__(
        self,
        what: str,
        *,
        expected: str | None = None,
        fix: str | None = None,
        slow: bool = False,
        stale: bool = False,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.expected = expected
        self.fix = fix
        self.slow = slow
        """True if the connection attempt timed out. Other connections to the server may work."""
        self.stale = stale
        """True if the server had closed the connection while it was idle. The command may then be sent again."""

    def make_error(self, shown: str) -> CacheUnavailable:
        """Return the error for the caller."""
        return CacheUnavailable(
            f"Redis does not answer: {self.what}",
            where=shown,
            expected=self.expected or "a server that answers within `timeout` of [cache.redis]",
            fix=self.fix or f"redis-cli -u {shown} ping",
        )


_FIXES: Final = {
    "NOAUTH": ("the server requires a password", "a password", "llmcore config set cache.redis.password env:REDIS_PASSWORD"),
    "WRONGPASS": ("the user name or password is wrong", "the server's password", "llmcore config set cache.redis.password env:REDIS_PASSWORD"),
    "READONLY": ("the server is a read-only replica", "the address of the master", "llmcore config set cache.redis.url redis+sentinel://HOST:26379/MASTER"),
    "OOM": ("the server is out of memory, and its policy forbids eviction", "an eviction policy", "redis-cli CONFIG SET maxmemory-policy allkeys-lru"),
    "LOADING": ("the server is still loading its data", "a server that has started", "redis-cli INFO persistence"),
    "MASTERDOWN": ("the replica has lost its master", "a replica with its master", "redis-cli INFO replication"),
    "MISCONF": ("the server refuses writes, because it cannot save to its disk", "free space on the server's disk", "redis-cli INFO persistence"),
    "MOVED": ("the server is part of a Cluster", "an address that begins with redis+cluster://", "llmcore config set cache.redis.url redis+cluster://HOST:PORT"),
    "ASK": ("the Cluster is moving these keys to another node", "a Cluster at rest", "redis-cli CLUSTER INFO"),
    "TRYAGAIN": ("the Cluster is moving these keys to another node", "a Cluster at rest", "redis-cli CLUSTER INFO"),
    "CLUSTERDOWN": ("the Cluster is down", "a Cluster with a master for every slot", "redis-cli CLUSTER INFO"),
    "DENIED": ("the server is in protected mode and accepts only clients on its machine", "a password on the server", "redis-cli CONFIG SET requirepass PASSWORD"),
    "NOPROTO": ("the server does not support RESP3", "Redis 6.0 or newer", "redis-cli INFO server"),
}  # fmt: skip

_BY_TEXT: Final = (
    ("db index", ("the server has no database {db}", "the number of a database that the server has: 0 to 15 by default", "redis-cli CONFIG GET databases")),
    ("select is not allowed in cluster mode", ("the server is part of a Cluster, which has no database {db}", "database 0, and redis+cluster:// in the address", "llmcore config set cache.redis.url redis+cluster://HOST:PORT")),
    ("max number of clients", ("the server has too many clients", "fewer connections", "redis-cli CONFIG SET maxclients 10000")),
    ("can't run this command", ("a script of the cache uses a command that the user '{user}' may not run", "a user with the rights +get +set +del", "redis-cli ACL SETUSER {user} +get +set +del")),
    ("unknown command", ("the server does not support a command that the cache needs", "Redis 6.0 or newer", "redis-cli INFO server")),
)  # fmt: skip
"""Words of an error message in lower case, and the refusal for that error, which has no specific error code."""
_COMMAND: Final = re.compile(r"run the '([A-Za-z]+(?:\|[A-Za-z]+)?)' command")
_DOWN: Final = frozenset({"NOAUTH", "WRONGPASS", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "DENIED", "NOPROTO"})
"""Error codes with which a server answers every command."""


class _Refusal(NamedTuple):
    what: str
    expected: str
    fix: str


def make_refusal(error: ReplyError, target: Target, keys: str) -> CacheError:
    """Return our error for an error of the server.

    Args:
        error: The error of the server. The server's text may contain a key, so only the code and the command are
            shown.
        target: The server.
        keys: The server's pattern for the keys of this cache.
    """
    what, expected, fix = (
        _find_sentinel_refusal(error)
        or _explain_permission(error, target, keys)
        or _explain_text(error, target)
    )
    kind = CacheUnavailable if error.is_outage else CacheError
    return kind(f"Redis refuses: {what}", where=target.shown, expected=expected, fix=fix)


def find_refused_command(error: ReplyError) -> str:
    """Return the name of the command that the user may not run, such as `CLIENT TRACKING`; empty if *error* names none."""
    found = _COMMAND.search(str(error)) if error.code == "NOPERM" else None
    return found[1].replace("|", " ").upper() if found else ""


def _find_sentinel_refusal(error: ReplyError) -> _Refusal | None:
    if not error.by_sentinel or error.code not in {"NOAUTH", "WRONGPASS"}:
        return None
    what = "requires a password" if error.code == "NOAUTH" else "does not accept the user name or password"
    return _Refusal(
        f"a Sentinel {what}",
        "`sentinel_password` in [cache.redis], and `sentinel_username` for a user other than the default user",
        "llmcore config set cache.redis.sentinel_password env:SENTINEL_PASSWORD",
    )


def _explain_permission(error: ReplyError, target: Target, keys: str) -> _Refusal | None:
    if error.code != "NOPERM":
        return None
    user = target.username or "default"
    if command := find_refused_command(error):
        right = f"+{command.lower().replace(' ', '|')}"
        return _Refusal(
            f"the user {user!r} may not run {command}",
            f"a user with the right {right}",
            f"redis-cli ACL SETUSER {user} {right}",
        )
    return _Refusal(
        f"the user {user!r} may not access the keys of this cache",
        f"a user with the right ~{keys}",
        f"redis-cli ACL SETUSER {user} '~{keys}'",
    )


def _explain_text(error: ReplyError, target: Target) -> _Refusal:
    text, code = str(error).lower(), error.code
    for mark, words in _BY_TEXT:
        if mark in text:
            user = target.username or "default"
            return _Refusal(*(part.format(db=target.db, user=user) for part in words))
    if code in _FIXES:
        return _Refusal(*_FIXES[code])
    code = code if code.isalpha() and code.isupper() else type(error).__name__
    return _Refusal(f"it answered with the error {code}", "a Redis server", "redis-cli -u ADDRESS ping")


def make_too_large_error(size: int, limit: int) -> CacheError:
    """Return the error for a value that is too large."""
    return CacheError(
        f"a value of {size:,} bytes is more than the cache takes",
        expected=f"at most {limit:,} bytes, `max_value` of [cache.redis]",
        fix=f'llmcore config set cache.redis.max_value "{size // 10**6 + 1}MB"',
    )
