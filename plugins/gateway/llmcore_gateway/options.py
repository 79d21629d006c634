"""The table `[gateway]`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from llmcore.hookspecs import Options
from llmcore.units import Duration, Size

__all__ = ["GatewayOptions"]


class GatewayOptions(Options, frozen=True, kw_only=True):
    """The table `[gateway]`."""

    host: str = "127.0.0.1"
    """The address to listen on. One that other machines can reach is refused while no key exists."""
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 4000
    """0 takes a free one."""
    models: tuple[str, ...] = ()
    """The names that clients may request: names of `[models]`, `model`, `provider:model`, or a pattern such as "openai:*".
    Default: the names of `[models]` and the configured model."""
    unknown_parameters: Literal["pass", "refuse"] = "pass"
    """What happens to parameters that the provider does not declare."""
    on_disconnect: Literal["cancel", "finish"] = "cancel"
    """Whether a call whose client has left is cancelled, or finished and cached."""
    cache: Literal["shared", "per-key"] = "shared"
    """Whether the clients share cached answers."""
    drain: Duration = Duration(600)
    """How long a stopping server waits for answers in progress."""
    drain_delay: Duration = Duration(5)
    """How long it serves new requests at least, after a SIGTERM, so that a load balancer sees that it is not ready."""
    hosts: tuple[str, ...] = ()
    """Names of this server that clients may use, besides those of the loopback address and `host`."""
    origins: tuple[str, ...] = ()
    """Web pages, such as "https://chat.example.com", whose scripts may call the gateway (CORS)."""
    max_body: Size = Size(32_000_000)
    """The largest request body."""
    header_timeout: Duration = Duration(15)
    """How long a client may take to send the head of a request."""
    body_timeout: Duration = Duration(60)
    """How long a client may take to send the body of a request."""
    keepalive: Duration = Duration(15)
    """After this silence in a stream, a comment keeps the connection open."""
