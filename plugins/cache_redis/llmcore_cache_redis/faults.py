"""What goes wrong with a server, in words that show neither password nor key."""

from __future__ import annotations

from typing import Final

from redis.exceptions import ResponseError

from llmcore.errors import CacheError, CacheUnavailable

__all__ = ["Broken", "ReplyError", "refusal", "too_large"]


class ReplyError(ResponseError):  # type: ignore[misc, unused-ignore]
    """The server's refusal, its code included."""

    @property
    def code(self) -> str:
        """The first word, such as READONLY."""
        return str(self).partition(" ")[0]


class Broken(Exception):
    """A connection was not had, or was lost; nothing on it may be trusted."""

    def __init__(self, what: str, *, stale: bool = False) -> None:
        super().__init__(what)
        self.what = what
        self.stale = stale
        """The server had closed it while it lay idle: what was asked was not answered in part."""

    def fault(self, shown: str) -> CacheUnavailable:
        """Return the error for the caller."""
        return CacheUnavailable(
            f"Redis does not answer: {self.what}",
            where=shown,
            expected="a server that answers within `timeout` of [cache.redis]",
            fix="redis-cli -u ADDRESS ping",
        )


_FIXES: Final = {
    "NOAUTH": ("it asks for a password", "a password", "llmcore config set cache.redis.password env:REDIS_PASSWORD"),
    "WRONGPASS": ("the user name or password is wrong", "the server's password", "llmcore config set cache.redis.password env:REDIS_PASSWORD"),
    "NOPERM": ("this user may not do that", "a user with the rights +@read +@write +@scripting +@connection", "redis-cli ACL LIST"),
    "READONLY": ("it is a replica, which may not be written", "the address of the master", "llmcore config set cache.redis.url redis+sentinel://HOST:26379/MASTER"),
    "OOM": ("it is out of memory and may evict nothing", "an eviction policy", "redis-cli CONFIG SET maxmemory-policy allkeys-lru"),
    "LOADING": ("it is still loading its data", "a server that has started", "redis-cli INFO persistence"),
    "MASTERDOWN": ("it has lost its master", "a replica with its master", "redis-cli INFO replication"),
    "MISCONF": ("it refuses writes, since it cannot save to its disk", "room on the server's disk", "redis-cli INFO persistence"),
    "MOVED": ("it is part of a Cluster", "an address that says so", "llmcore config set cache.redis.url redis+cluster://HOST:PORT"),
    "ASK": ("it is moving these keys to another node", "a Cluster at rest", "redis-cli CLUSTER INFO"),
    "TRYAGAIN": ("it is moving these keys to another node", "a Cluster at rest", "redis-cli CLUSTER INFO"),
    "CLUSTERDOWN": ("its Cluster is down", "a Cluster with a master for every slot", "redis-cli CLUSTER INFO"),
    "NOPROTO": ("it does not speak RESP3", "Redis 6.0 or newer", "redis-cli INFO server"),
}  # fmt: skip

_DOWN: Final = frozenset({"NOAUTH", "WRONGPASS", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "NOPROTO"})
"""Refusals that meet every command alike."""


def refusal(error: Exception, shown: str) -> CacheError:
    """Return our error for the server's. Its own text may repeat a key, so of an unknown one the code alone is told."""
    text = str(error)
    code = text.partition(" ")[0]
    if "max number of clients" in text:
        what, expected, fix = (
            "it has too many clients",
            "fewer connections",
            "redis-cli CONFIG SET maxclients 10000",
        )
    elif "unknown command" in text.lower():
        what, expected, fix = (
            "it does not know a command that the cache needs",
            "Redis 6.0 or newer",
            "redis-cli INFO server",
        )
    elif code in _FIXES:
        what, expected, fix = _FIXES[code]
    else:
        code = code if code.isalpha() and code.isupper() else type(error).__name__
        what, expected, fix = (
            f"it answered with the error {code}",
            "a Redis server",
            "redis-cli -u ADDRESS ping",
        )
    kind = CacheUnavailable if code in _DOWN else CacheError
    return kind(f"Redis refuses: {what}", where=shown, expected=expected, fix=fix)


def too_large(size: int, limit: int) -> CacheError:
    """Return the error for a value that is not written."""
    return CacheError(
        f"a value of {size:,} bytes is more than the cache takes",
        expected=f"at most {limit:,} bytes, `max_value` of [cache.redis]",
        fix=f'llmcore config set cache.redis.max_value "{size // 10**6 + 1}MB"',
    )
