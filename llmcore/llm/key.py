"""The cache key of a request: everything that decides the answer, and nothing else."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from llmcore.calls.options import fields_of
from llmcore.errors import BadRequest
from llmcore.types import ChatRequest, Secret

__all__ = ["NOT_IN_KEY", "STATEFUL", "KeyMaker", "identity_of"]

KEY_VERSION: Final = 1
"""Raised whenever the same bytes would come to mean something else."""

NOT_IN_KEY: Final = frozenset(
    {
        "metadata", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "safety_identifier",
        "service_tier", "store", "stream", "stream_options", "timeout", "user",
    }
)  # fmt: skip
"""Parameters that change price, speed or bookkeeping, not the answer. The served tier is recorded in the reply."""

STATEFUL: Final = frozenset({"background", "conversation", "previous_response_id"})
"""Parameters that lean on what the server remembers: such a request is never answered from the cache."""

_POINT_ZERO: Final = re.compile(rb"\.0[,}\]]")
_EXPONENT: Final = re.compile(rb"e\d")
"""A float that may equal an integer: only then are the numbers looked at one by one."""

_json = msgspec.json.Encoder(order="sorted")


class KeyMaker:
    """Makes the keys of one backend's requests."""

    __slots__ = ("_prefix",)

    def __init__(self, *, provider: str, identity: Mapping[str, Any], namespace: str) -> None:
        scope = _json.encode(
            [KEY_VERSION, namespace, provider, dict(identity)],
        )
        self._prefix = hashlib.sha256(scope + b"\n")

    def key(self, request: ChatRequest) -> str:
        """Return the key, 66 characters.

        Raises:
            BadRequest: The request holds what is not JSON.
        """
        digest = self._prefix.copy()
        digest.update(_canonical(request))
        return "r:" + digest.hexdigest()


def identity_of(options: Any) -> dict[str, Any]:
    """Return every option, secrets as digests: what identifies a backend that does not say."""
    return {name: _shown(value) for name, value in fields_of(options).items()}


def _shown(value: Any) -> Any:
    if isinstance(value, Secret):
        return hashlib.sha256(value.reveal().encode()).hexdigest()
    return value if isinstance(value, str | int | float | bool | None) else repr(value)


def _canonical(request: ChatRequest) -> bytes:
    body = request.body()
    if not NOT_IN_KEY.isdisjoint(body):
        body = {name: value for name, value in body.items() if name not in NOT_IN_KEY}
    cause = ""
    try:
        data = _json.encode(body)
        odd = (b".0" in data and _POINT_ZERO.search(data)) or _EXPONENT.search(data)
        return _json.encode(_respelt(body)) if odd else data
    except (TypeError, ValueError, RecursionError) as error:
        cause = str(error)
    raise BadRequest(
        f"the request is not JSON: {cause}",
        code="LC306",
        expected="messages and parameters of dicts, lists, texts, numbers, true, false and null",
    )


def _respelt(value: Any) -> Any:
    """Return *value* with each float that equals an integer as that integer: 1.0 and 1 are one request."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, Mapping):
        return {name: _respelt(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_respelt(item) for item in value]
    return value
