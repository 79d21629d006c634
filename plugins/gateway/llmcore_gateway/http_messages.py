"""Requests and answers as plain values. The ASGI application and the in-process clients share these types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

__all__ = ["Answer", "Caller", "Request", "encode", "make_json"]

encode: Final = msgspec.json.Encoder(decimal_format="number").encode


class Caller(NamedTuple):
    """The caller of a request."""

    user: str | None = None
    """The name of the key; None while the gateway has no keys."""
    models: tuple[str, ...] = ()
    """The models that the key may request; empty for all models of the gateway."""


class Request(NamedTuple):
    """A request that was read and authorised."""

    method: str
    path: str
    """The path as it was sent, without the query."""
    headers: Mapping[str, str]
    """The headers, with names in lower case."""
    body: bytes
    caller: Caller
    id: str


class Answer(NamedTuple):
    """A complete answer."""

    status: int
    body: bytes
    headers: Mapping[str, str] = {}
    content_type: str = "application/json"


def make_json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer whose body is *value* as JSON."""
    return Answer(status, encode(value), headers or {})
