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
    """The address to listen on. An address that other machines can reach is refused while no key exists."""
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 4000
    """The port; 0 takes a free port."""
    models: tuple[str, ...] = ()
    """The names that clients may request: names of `[models]`, `model`, `provider:model`, or a pattern such as "openai:*".
    Default: the names of `[models]` and the configured model."""
    unknown_parameters: Literal["pass", "refuse"] = "pass"
    """Parameters that the provider does not declare: "pass" sends them to the provider, "refuse" rejects the request."""
    on_disconnect: Literal["cancel", "finish"] = "cancel"
    """The treatment of a call whose client has disconnected: "cancel" it, or "finish" it and cache the answer."""
    cache: Literal["shared", "per-key"] = "shared"
    """"shared": all clients share cached answers. "per-key": each API key has a separate cache."""
    drain: Duration = Duration(600)
    """The maximum time for which a stopping server waits for answers in progress."""
    drain_delay: Duration = Duration(5)
    """Minimum time after a SIGTERM during which the server still accepts requests.

    In this time a load balancer can notice that the server is not ready.
    """
    hosts: tuple[str, ...] = ()
    """Names of this server that clients may use, in addition to the names of the loopback address and `host`."""
    origins: tuple[str, ...] = ()
    """Web pages, such as "https://chat.example.com", whose scripts may call the gateway (CORS)."""
    max_body: Size = Size(32_000_000)
    """The maximum size of a request body in bytes."""
    header_timeout: Duration = Duration(15)
    """The maximum time in which a client must send the head of a request."""
    body_timeout: Duration = Duration(60)
    """The maximum time in which a client must send the body of a request."""
    keepalive: Duration = Duration(15)
    """A stream that has sent nothing for this time sends a comment, which keeps the connection open."""
