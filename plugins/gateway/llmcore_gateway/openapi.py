"""`/openapi.json`: the description of all routes, as OpenAPI 3.1.

The gateway also passes on fields that the description does not name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["make_document"]

_TEXT: Final = {"type": "string"}
_FLAG: Final = {"type": "boolean"}
_MODEL: Final = {
    "type": "string",
    "description": "A name of `GET /v1/models`; default: the configured model.",
}
_MESSAGE: Final = {
    "type": "object",
    "required": ["role"],
    "properties": {"role": _TEXT, "content": {"type": ["string", "array", "null"]}},
}
_MESSAGES: Final = {"type": "array", "minItems": 1, "items": _MESSAGE}
_LISTED: Final = {"type": "array", "items": {"type": "object"}}

_REQUESTS: Final[Mapping[str, tuple[str, tuple[str, ...], dict[str, Any]]]] = {
    "/v1/audio/speech": (
        "Speak a text with the configured voice",
        ("input",),
        {
            "input": {"type": "string", "minLength": 1},
            "voice": {"type": ["string", "object"]},
            "model": _TEXT,
            "response_format": {"enum": ["aac", "flac", "mp3", "opus", "pcm", "wav"]},
            "speed": {"type": "number"},
            "instructions": _TEXT,
            "stream_format": {"enum": ["audio"]},
        },
    ),
    "/v1/chat/completions": (
        "Chat Completions",
        ("messages",),
        {
            "messages": _MESSAGES,
            "model": _MODEL,
            "stream": _FLAG,
            "stream_options": {"type": "object", "properties": {"include_usage": _FLAG}},
            "temperature": {"type": "number"},
            "max_tokens": {"type": "integer"},
            "n": {"type": "integer"},
            "stop": {"type": ["string", "array"]},
            "seed": {"type": "integer"},
            "tools": _LISTED,
            "response_format": {"type": "object"},
            "user": _TEXT,
        },
    ),
    "/v1/embeddings": (
        "Embeddings",
        ("input",),
        {
            "input": {"type": ["string", "array"]},
            "model": _MODEL,
            "dimensions": {"type": "integer"},
            "encoding_format": {"enum": ["float", "base64"]},
        },
    ),
    "/v1/messages": (
        "Anthropic's Messages API",
        ("messages", "max_tokens"),
        {
            "messages": _MESSAGES,
            "model": _MODEL,
            "max_tokens": {"type": "integer"},
            "system": {"type": ["string", "array"]},
            "stream": _FLAG,
            "tools": _LISTED,
        },
    ),
    "/v1/messages/count_tokens": (
        "Count the tokens of a request without sending it",
        ("messages",),
        {
            "messages": _MESSAGES,
            "model": _MODEL,
            "system": {"type": ["string", "array"]},
            "tools": _LISTED,
        },
    ),
    "/v1/responses": (
        "The Responses API",
        ("input",),
        {
            "input": {"type": ["string", "array"]},
            "model": _MODEL,
            "instructions": _TEXT,
            "stream": _FLAG,
            "max_output_tokens": {"type": "integer"},
            "tools": _LISTED,
            "text": {"type": "object"},
        },
    ),
}
_SUMMARIES: Final = {
    "/dashboard": "A page with usage and cost. With a key, the page shows only the calls of this key. The key may be the password of Basic authentication",
    "/health/live": "Answer 200 while the process runs",
    "/health/ready": "Answer 200 while the server accepts requests, and 503 while it starts or drains",
    "/metrics": "Counters of all workers, for Prometheus",
    "/openapi.json": "This description",
    "/v1/models": "The models that the caller may request",
    "/v1/models/{id}": "One model that the caller may request",
}
_ERROR: Final = {"description": "An error, in the format of the API that was called"}


def make_document(routes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of *routes*."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "llmcore gateway", "version": "1"},
        "security": [{"bearer": []}, {"apiKey": []}],
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            }
        },
        "paths": {path: {route.method.lower(): _describe(route)} for path, route in sorted(routes.items())},
    }


def _describe(route: Any) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "responses": {"200": {"description": "The answer"}, "default": _ERROR},
        **({"security": []} if route.is_public else {}),
    }
    if route.path not in _REQUESTS:
        operation["summary"] = _SUMMARIES[route.path]
        if "{id}" in route.path:
            operation["parameters"] = [{"name": "id", "in": "path", "required": True, "schema": _TEXT}]
        return operation
    summary, required, properties = _REQUESTS[route.path]
    schema = {"type": "object", "required": list(required), "properties": properties}
    operation["summary"] = summary
    operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation
