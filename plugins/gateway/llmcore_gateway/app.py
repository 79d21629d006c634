"""The ASGI application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from llmcore_gateway.gateway import Gateway
from llmcore_gateway.options import GatewayOptions
from llmcore_gateway.request_handler import RequestHandler
from llmcore_gateway.state import ServerState

if TYPE_CHECKING:
    from llmcore import Core

__all__ = ["Application", "create_app"]

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def create_app(core: Core, options: GatewayOptions | None = None) -> Application:
    """Return the ASGI application that serves *core*.

    Args:
        core: The Core. The caller must close it.
        options: The options; None means the table `[gateway]` of the configuration.
    """
    return Application(Gateway(core, options))


class Application:
    """A plain ASGI 3 application. A `RequestHandler` processes each request."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        """The gateway that serves new requests. A reload replaces it."""
        self.state = ServerState()

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one connection of the ASGI server."""
        if scope["type"] == "http":
            await RequestHandler(self.state, self.gateway, scope, receive, send).run()
        elif scope["type"] == "lifespan":
            await _run_lifespan(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})


async def _run_lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
