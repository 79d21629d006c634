"""The keys under which the server stores entries, leases and the generation of a namespace.

memcached accepts keys of 1 to 250 bytes without spaces and control characters. Other keys are hashed. The letter
after the namespace distinguishes plain keys (`k`), hashed keys (`h`), leases (`l`) and the generation (`g`).
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final
from urllib.parse import quote

from llmcore.errors import ConfigError

__all__ = ["Names"]

_MAX_BYTES: Final = 250
_FIRST, _LAST = 0x21, 0x7E
_MAX_NAMESPACE: Final = 64
_MAX_QUOTED: Final = 100
_PRINTABLE: Final = bytes(range(_FIRST, _LAST + 1))


class Names:
    """The keys of one namespace.

    Raises:
        ConfigError: The namespace is empty or longer than 64 characters.
    """

    def __init__(self, namespace: str) -> None:
        if not 0 < len(namespace) <= _MAX_NAMESPACE:
            raise ConfigError(
                f"namespace must have 1 to {_MAX_NAMESPACE} characters, got {len(namespace)}",
                where="namespace in [cache.memcached]",
                expected=f"1 to {_MAX_NAMESPACE} characters",
                fix="llmcore config set cache.memcached.namespace default",
            )
        part = quote(namespace, safe="", errors="surrogatepass")
        if len(part) > _MAX_QUOTED:
            part = "#" + _digest(namespace)  # unlike all short names: `quote` never returns a "#"
        self._base: Final = f"llmcore:{part}:".encode()
        self.generation: Final = self._base + b"g"
        """The key under which the server stores the current generation. Entries of other generations are misses."""

    def name_entry(self, key: str) -> bytes:
        """Return the key under which the server stores the entry *key*."""
        name = self._base + b"k:" + key.encode("utf-8", "surrogatepass")
        if len(name) <= _MAX_BYTES and not name.translate(None, _PRINTABLE):
            return name
        return self._base + b"h:" + _digest(key).encode()

    def name_lease(self, key: str) -> bytes:
        """Return the key under which the server stores the lease on *key*."""
        return self._base + b"l:" + _digest(key).encode()


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
