"""The table of all routes. The gateway serves no other path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import unquote

from llmcore_gateway.count_tokens import CountCall
from llmcore_gateway.error_answers import Refused
from llmcore_gateway.gateway import Gateway
from llmcore_gateway.http_messages import Answer, Caller, Request, make_json
from llmcore_gateway.llm_calls import LLMCall, read_body
from llmcore_gateway.openapi import make_document
from llmcore_gateway.speech import SpeechCall

__all__ = ["Call", "Route", "answer_directly", "find_route", "make_call"]


class Call(Protocol):
    """A request that goes through the Core."""

    api: str
    model: str | None
    streaming: bool
    content_type: str

    def run(self) -> Answer:
        """Return the complete answer."""
        ...

    async def arun(self) -> Answer:
        """See `run`."""
        ...

    def stream(self) -> Any:
        """Yield the events of the answer."""
        ...

    def astream(self) -> Any:
        """See `stream`."""
        ...


class Route(NamedTuple):
    """One path."""

    method: str
    path: str
    """The path as it appears in metrics and logs."""
    api: str = "chat"
    """The API that determines the format of errors."""
    is_public: bool = False
    """True if the route needs no key. Only a route that reveals nothing may be public."""


_ROUTES: Final[Mapping[str, Route]] = {
    route.path: route
    for route in (
        Route("GET", "/dashboard"),
        Route("GET", "/health/live", is_public=True),
        Route("GET", "/health/ready", is_public=True),
        Route("GET", "/metrics"),
        Route("GET", "/openapi.json"),
        Route("GET", "/v1/models"),
        Route("GET", "/v1/models/{id}"),
        Route("POST", "/v1/audio/speech"),
        Route("POST", "/v1/chat/completions"),
        Route("POST", "/v1/embeddings", "embeddings"),
        Route("POST", "/v1/messages", "messages"),
        Route("POST", "/v1/messages/count_tokens", "messages"),
        Route("POST", "/v1/responses", "responses"),
    )
}

_MODEL: Final = "/v1/models/"


def find_route(method: str, path: str) -> Route:
    """Return the route of *path*. The path is compared exactly as it was sent, without decoding.

    Raises:
        Refused: The route does not exist, or has another method.
    """
    route = _ROUTES.get(path)
    if route is None and path.startswith(_MODEL) and len(path) > len(_MODEL):
        route = _ROUTES["/v1/models/{id}"]
    if route is None or path == "/v1/models/{id}":
        raise Refused(404, "not_found_error", f"there is no {method[:20]} {path[:200]}", code="unknown_url")
    if method != route.method and not (method == "HEAD" and route.method == "GET"):
        raise Refused(
            405,
            "invalid_request_error",
            f"{route.path} takes {route.method}",
            code="method_not_allowed",
            headers={"allow": route.method},
        )
    return route


def make_call(gateway: Gateway, route: Route, body: bytes, caller: Caller) -> Call:
    """Return the call of a request that goes through the Core.

    Raises:
        Refused: The body is malformed, or *caller* may not request its model.
        BadRequest: The body has a parameter that is refused.
    """
    document = read_body(body)
    if route.path == "/v1/audio/speech":
        return SpeechCall(gateway, document, caller)
    if route.path == "/v1/messages/count_tokens":
        return CountCall(gateway, document, caller)
    api: Any = route.api if route.path != "/v1/chat/completions" else "chat"
    return LLMCall(gateway, api, document, caller)


def answer_directly(gateway: Gateway, route: Route, request: Request) -> Answer:
    """Return the answer of a route with the method GET. Such a route sends nothing to a backend.

    Raises:
        Refused: The caller may not request the named model, or the route needs a server, which in-process clients lack.
    """
    if route.path == "/openapi.json":
        return make_json(make_document(_ROUTES))
    if route.path == "/v1/models":
        models = [_describe(name) for name in gateway.models.list(request.caller)]
        return make_json({"object": "list", "data": models})
    if not request.path.startswith(_MODEL):
        raise Refused(
            404, "not_found_error", f"there is no {route.path} without a server", code="unknown_url"
        )
    name = unquote(request.path[len(_MODEL) :])
    gateway.models.check(name, request.caller)
    return make_json(_describe(name))


def _describe(name: str) -> dict[str, Any]:
    provider, separator, _ = name.partition(":")
    return {"id": name, "object": "model", "created": 0, "owned_by": provider if separator else "llmcore"}
