"""The names under which a server stores entries, leases and rate limits. Redis calls these names keys.

An entry is `llmcore:<namespace>:v1:<key>`, a lease is `llmcore:<namespace>:lease:<key>`, and the state of a rate limit is
`llmcore:<namespace>:rate:{<provider>}:<part>:<model>`.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from llmcore.errors import ConfigError

__all__ = ["Names"]

_LONGEST_NAMESPACE: Final = 64


class Names:
    """The names of one namespace. The namespace is quoted, so that no namespace is the prefix of another."""

    def __init__(self, namespace: str) -> None:
        if not 0 < len(namespace) <= _LONGEST_NAMESPACE:
            raise ConfigError(
                "the namespace of a cache is empty or too long",
                where="namespace in [cache.redis]",
                expected=f"1 to {_LONGEST_NAMESPACE} characters",
                fix="llmcore config set cache.redis.namespace default",
            )
        base = f"llmcore:{quote(namespace, safe='', errors='surrogatepass')}:"
        self.pattern: Final = f"{base}*"
        """The server's pattern for all keys of the namespace, in the form that an ACL uses."""
        self.prefix: Final = f"{base}v1:".encode()
        self._lease: Final = f"{base}lease:".encode()
        self._rate: Final = f"{base}rate:".encode()

    def name_entry(self, key: str) -> bytes:
        """Return the name of the entry *key*."""
        return self.prefix + key.encode("utf-8", "surrogatepass")

    def name_lease(self, key: str) -> bytes:
        """Return the name of the lease on *key*."""
        return self._lease + key.encode("utf-8", "surrogatepass")

    def name_rate_limits(self, provider: str) -> bytes:
        """Return the prefix of the names of a provider's rate limits.

        The prefix contains a hash tag, so a Cluster stores all these names in one slot.
        """
        tag = quote(provider, safe="", errors="surrogatepass").encode()
        return b"%s{%s}:" % (self._rate, tag)

    def parse_key(self, name: bytes) -> str | None:
        """Return the key of the entry *name*; None if *name* is not an entry of this namespace."""
        if not name.startswith(self.prefix):
            return None
        try:
            return name[len(self.prefix) :].decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return None

    def make_glob(self, pattern: str = "*") -> bytes:
        """Return the pattern with which SCAN finds the entries whose keys match *pattern*.

        SCAN may also find other entries, so check each key with `compile_pattern`.
        """
        # The `?` of *pattern* matches one character, and the server's `?` only one byte, so `?` becomes `*`.
        # Other special characters are escaped.
        text = re.sub(r"([\[\]\\])", r"\\\1", pattern.replace("?", "*"))
        return self.prefix + text.encode("utf-8", "surrogatepass")
