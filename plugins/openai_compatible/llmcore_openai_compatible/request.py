"""Convert a chat request to the form that a server accepts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from llmcore.errors import BadRequest
from llmcore.types import ChatRequest
from llmcore_openai_compatible.servers import Server

__all__ = ["adapt_request"]


def adapt_request(request: ChatRequest, server: Server) -> ChatRequest:
    """Return *request* with the server's names of parameters and roles.

    Raises:
        BadRequest: The request needs something that the server does not support.
    """
    parameters, messages = request.parameters, request.messages
    if not server.has_schemas:
        _refuse_schema(parameters.get("response_format"), server)
    if not server.renames.keys().isdisjoint(parameters):
        kept = {name: value for name, value in parameters.items() if name not in server.renames}
        renamed = {
            server.renames[name]: value for name, value in parameters.items() if name in server.renames
        }
        parameters = {**renamed, **kept}
    if not server.has_developer and any(map(_is_from_developer, messages)):
        messages = [{**each, "role": "system"} if _is_from_developer(each) else each for each in messages]
    if parameters is request.parameters and messages is request.messages:
        return request
    return msgspec.structs.replace(request, parameters=parameters, messages=messages)


def _is_from_developer(message: Any) -> bool:
    return isinstance(message, Mapping) and message.get("role") == "developer"


def _refuse_schema(wanted: Any, server: Server) -> None:
    if isinstance(wanted, Mapping) and wanted.get("type") == "json_schema":
        raise BadRequest(
            f"`{server.name}` does not support response_format with a schema",
            provider=server.name,
            code="LC308",
            where="response_format",
            expected='{"type": "json_object"}, and the fields described in the prompt',
            fix='chat(..., response_format={"type": "json_object"})',
        )
