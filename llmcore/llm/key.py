"""The cache key of a request: a digest of everything that can change the answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from llmcore.errors import BadRequest
from llmcore.support.digests import start_sha256
from llmcore.support.errors import raise_unchained
from llmcore.types import ChatRequest, EmbeddingRequest

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = ["NOT_IN_KEY", "STATEFUL", "KeyMaker", "is_stateful"]

_KEY_VERSION: Final = 2
"""The version of keys.

Increase the version when a change of the code makes the entries of earlier versions wrong.
"""

NOT_IN_KEY: Final = frozenset(
    {
        "metadata", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "safety_identifier",
        "service_tier", "store", "stream", "stream_options", "timeout", "user",
    }
)  # fmt: skip
"""Parameters that change price, speed or bookkeeping, but not the answer.

Requests that differ only in `service_tier` have the same key. The cached reply names the tier that served the original
request.
"""

STATEFUL: Final = frozenset({"background", "container", "conversation", "previous_response_id"})
"""Parameters that refer to state on the server.

A request with such a parameter is never answered from the cache.
"""

_POINT_ZERO: Final = re.compile(rb"\.0[,}\]]")
_EXPONENT: Final = re.compile(rb"e\d")
"""JSON that matches neither this expression nor `_POINT_ZERO` contains no float equal to an integer, such as 1e3 or 1.0.

In JSON that matches, each number is checked.
"""

_json = msgspec.json.Encoder(order="sorted", decimal_format="number")


class KeyMaker:
    """Makes the keys of one backend's requests."""

    __slots__ = ("_is_used", "_prefix", "_scope")

    def __init__(self, *, provider: str, identity: Mapping[str, Any], namespace: str) -> None:
        scope = _json.encode(
            [_KEY_VERSION, namespace, provider, dict(identity)],
        )
        self._scope = scope + b"\n"
        self._prefix: _Hash | None = None
        self._is_used = False

    def make_key(self, request: ChatRequest | EmbeddingRequest) -> str:
        """Return the key, 66 characters.

        Raises:
            BadRequest: The request contains a value that is not JSON.
        """
        data = _encode_canonical(request)
        digest = self._start(len(data)) if self._prefix is None else self._prefix.copy()
        if request.api != "chat":
            digest.update(request.api.encode() + b"\n")
        digest.update(data)
        return "r:" + digest.hexdigest()

    def _start(self, size: int) -> _Hash:
        """Return a SHA-256 hash of the scope, to which the caller adds *size* bytes.

        The first call uses an implementation without hashlib. It is slower, but importing hashlib takes longer than
        computing one hash.
        """
        if not self._is_used:
            self._is_used = True
            return start_sha256(self._scope, size)
        import hashlib

        self._prefix = hashlib.sha256(self._scope)
        return self._prefix.copy()


def is_stateful(request: ChatRequest | EmbeddingRequest) -> bool:
    """Return whether the answer to *request* depends on data that the server stores.

    Such an answer is never cached.
    """
    if not STATEFUL.isdisjoint(request.parameters):
        return True
    items = request.parameters.get("input") if request.api == "responses" else None
    return isinstance(items, list) and any(
        isinstance(item, Mapping) and item.get("type") == "item_reference" for item in items
    )


def _encode_canonical(request: ChatRequest | EmbeddingRequest) -> bytes:
    body = request.body()
    if not NOT_IN_KEY.isdisjoint(body):
        body = {name: value for name, value in body.items() if name not in NOT_IN_KEY}
    try:
        data = _json.encode(body)
        odd = (b".0" in data and _POINT_ZERO.search(data)) or _EXPONENT.search(data)
        return _json.encode(_normalise_numbers(body)) if odd else data
    except (TypeError, ValueError, RecursionError) as error:
        raise_unchained(
            BadRequest(
                f"the request is not JSON: {error}",
                code="LC306",
                expected="messages and parameters of dicts, lists, texts, numbers, true, false and null",
            )
        )


def _normalise_numbers(value: Any) -> Any:
    """Return *value* with floats such as 1.0 as integers, because 1.0 and 1 mean the same in a request."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, Mapping):
        return {name: _normalise_numbers(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_normalise_numbers(item) for item in value]
    return value
