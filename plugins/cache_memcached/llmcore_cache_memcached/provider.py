"""The cache `memcached`. The cache is sync; the host calls it from threads for async applications."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from llmcore.errors import CacheError, ConfigError
from llmcore_cache_memcached.address import parse
from llmcore_cache_memcached.connections import Connections
from llmcore_cache_memcached.entry_codec import GENERATION_BYTES, compute_exptime, pack, unpack
from llmcore_cache_memcached.errors import make_too_large
from llmcore_cache_memcached.names import Names
from llmcore_cache_memcached.options import MemcachedOptions
from llmcore_cache_memcached.tls import build_context

if TYPE_CHECKING:
    from pymemcache.client.base import Client

__all__ = ["MemcachedCache"]

_BATCH: Final = 64
_TRIES: Final = 8
_OVERHEAD_BYTES: Final = 1024
"""An upper bound for the bytes of the server's item in addition to the value: the key and two headers."""
_NO_GENERATION: Final = bytes(GENERATION_BYTES)


class MemcachedCache:
    """Implements `CacheProvider` of `llmcore.contracts`, `CacheBatches`, `CacheLeases` and `CacheDiagnosis`.

    memcached cannot list keys. Each server stores a generation, 16 random bytes, for each namespace. An entry contains the
    generation that was current when the entry was written. `clear` replaces the generation, so the earlier entries
    are misses and are eventually evicted. If the server evicts a generation, the entries of that generation become
    misses too.

    Args:
        options: The addresses of the servers, and limits.

    Raises:
        ConfigError: An option is invalid.
    """

    def __init__(self, options: MemcachedOptions | None = None) -> None:
        options = options or MemcachedOptions()
        _check(options)
        self._names = Names(options.namespace)
        self._max_value = int(options.max_value_bytes)
        context = build_context(options)
        self._servers = [Connections(parse(each), options, context) for each in options.servers]

    def get(self, key: str) -> bytes | None:
        """See `CacheProvider.get`."""
        name = self._names.name_entry(key)
        return self._find(name).run(lambda client: self._read(client, name))

    def set(self, key: str, value: bytes, ttl: float | None = None) -> None:
        """See `CacheProvider.set`. A value over `max_value_bytes` is refused, and an older value deleted."""
        name = self._names.name_entry(key)
        server = self._find(name)
        if len(value) > self._max_value:
            server.run(lambda client: client.delete(name, noreply=False))
            raise make_too_large(len(value), self._max_value)

        def write(client: Client) -> object:
            entry = pack(name, value, ttl, self._get_or_make_generation(client))
            return client.set(name, entry, compute_exptime(ttl), noreply=False)

        if not server.run(write, len(value)):
            raise CacheError(f"memcached at {server.address} did not store a value")

    def delete(self, key: str) -> bool:
        """See `CacheProvider.delete`."""
        name = self._names.name_entry(key)

        def delete(client: Client) -> bool:
            existed = self._read(client, name) is not None
            return client.delete(name, noreply=False) and existed

        return self._find(name).run(delete)

    def clear(self) -> None:
        """See `CacheProvider.clear`: one command for each server, independent of the number of entries."""
        for server in self._servers:
            server.run(lambda client: client.set(self._names.generation, _make_generation(), noreply=False))

    def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """See `CacheBatches.get_many`."""
        by_server: dict[Connections, dict[bytes, str]] = {}
        for key in keys:
            name = self._names.name_entry(key)
            by_server.setdefault(self._find(name), {})[name] = key
        found: dict[str, bytes] = {}
        for server, names in by_server.items():
            every = list(names)
            for start in range(0, len(every), _BATCH):
                batch = every[start : start + _BATCH]
                values = server.run(lambda client, batch=batch: self._read_many(client, batch))  # type: ignore[misc]
                found.update({names[name]: value for name, value in values.items()})
        return found

    def acquire(self, key: str, holder: str, ttl: float) -> bool:
        """See `CacheLeases.acquire`."""
        name = self._names.name_lease(key)

        def acquire(client: Client) -> bool:
            lease, exptime = pack(name, holder.encode(), ttl, _NO_GENERATION), compute_exptime(ttl)
            for _ in range(_TRIES):
                if client.add(name, lease, exptime, noreply=False):
                    return True
                data, token = client.gets(name)
                if data is None:
                    continue  # the lease was released or has expired
                if unpack(data, name, _NO_GENERATION) not in {None, holder.encode()}:
                    return False
                if client.cas(name, lease, token, exptime, noreply=False):
                    return True
            return False

        return self._find(name).run(acquire)

    def release(self, key: str, holder: str) -> None:
        """See `CacheLeases.release`."""
        name = self._names.name_lease(key)

        def release(client: Client) -> None:
            data, token = client.gets(name)
            if data is not None and unpack(data, name, _NO_GENERATION) == holder.encode():
                # the lease expires at once, unless another holder has acquired it since `gets`
                client.cas(name, b"", token, -1, noreply=False)

        self._find(name).run(release)

    def unavailable(self) -> Mapping[str, str]:
        """See `CacheDiagnosis.unavailable`.

        Reports `set` if a server rejects sizes of values that `max_value_bytes` allows.
        """
        for server in self._servers:
            settings = server.run(lambda client: client.stats("settings"))
            limit = settings.get(b"item_size_max")
            if isinstance(limit, int) and self._max_value > limit - _OVERHEAD_BYTES:
                return {
                    "set": f"memcached at {server.address} stores at most {limit:,} bytes with the key and a header: values"
                    f" between {limit - _OVERHEAD_BYTES:,} and {self._max_value:,} bytes (max_value_bytes) are refused"
                }
        return {}

    def close(self) -> None:
        """Close idle connections now, and busy connections after their command."""
        for server in self._servers:
            server.close()

    def __repr__(self) -> str:
        return f"MemcachedCache({', '.join(str(server.address) for server in self._servers)})"

    def _find(self, name: bytes) -> Connections:
        """Return the server of *name* by rendezvous hashing: a new server takes over only its share of the names."""
        if len(self._servers) == 1:
            return self._servers[0]
        return max(
            self._servers, key=lambda server: blake2b(name, key=str(server.address).encode()[:64]).digest()
        )

    def _read(self, client: Client, name: bytes) -> bytes | None:
        return self._read_many(client, [name]).get(name)

    def _read_many(self, client: Client, names: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the values of the existing entries. One request reads the entries and the generation."""
        data = client.get_many([self._names.generation, *names])
        generation = data.get(self._names.generation)
        values = {name: unpack(data.get(name), name, generation) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    def _get_or_make_generation(self, client: Client) -> bytes:
        name = self._names.generation
        for _ in range(_TRIES):
            found = client.get(name)
            if type(found) is bytes and len(found) == GENERATION_BYTES:
                return found
            if found is None:
                client.add(name, _make_generation(), noreply=False)
            else:
                client.set(name, _make_generation(), noreply=False)
        raise CacheError(
            "memcached evicts the generation of the namespace at once: the server's memory is too small"
        )


def _make_generation() -> bytes:
    return secrets.token_bytes(GENERATION_BYTES)


def _check(options: MemcachedOptions) -> None:
    for name in ("timeout", "connect_timeout", "max_idle_connections", "max_value_bytes"):
        if getattr(options, name) <= 0:
            raise _make_error(
                name,
                f"{name} must be greater than 0, got {getattr(options, name):g}",
                "a value greater than 0",
            )
    if not options.servers:
        raise _make_error("servers", "servers must name at least one server, got none", '["host:port"]')
    if options.username is not None and options.password is None:
        raise _make_error("username", "username needs a password", "username and password, or neither")
    if not options.tls:
        for name in ("tls_ca_file", "tls_cert_file", "tls_key_file"):
            if getattr(options, name) is not None:
                raise ConfigError(
                    f"{name} has no effect without tls",
                    where=f"{name} in [cache.memcached]",
                    expected="tls = true",
                    fix="llmcore config set cache.memcached.tls true",
                )


def _make_error(name: str, message: str, expected: str) -> ConfigError:
    return ConfigError(
        message,
        where=f"{name} in [cache.memcached]",
        expected=expected,
        fix=f"llmcore config unset cache.memcached.{name}",
    )
