"""Translate a chat for the models that only answer in the Responses API."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from llmcore.errors import BadRequest
from llmcore.support.translation import translate_body
from llmcore.types import ChatRequest, Delta
from llmcore_openai_optimized.known_models import MODELS
from llmcore_openai_optimized.responses_reader import ResponsesReader

__all__ = ["TranslatedReader", "TranslatedRequest", "translate_chat"]

_ONLY_RESPONSES: Final = frozenset(
    name
    for name in MODELS
    if re.search(
        r"^(o\d|gpt-[\d.]+)-(pro|codex|deep-research)|^o\d-mini-deep-research|^codex|^computer-use", name
    )
)
"""The models that answer only in the Responses API.

Source, read 2026-11: https://platform.openai.com/docs/models, which marks them with "Responses API only".
"""


class TranslatedRequest(ChatRequest, frozen=True, kw_only=True):
    """A chat as a request of the Responses API."""


class TranslatedReader(ResponsesReader):
    """Reads the answer to a translated chat.

    The deltas have no `raw`, because the events have the format of the Responses API.
    """

    def feed(self, data: bytes) -> list[Delta]:
        """See `ResponsesReader.feed`."""
        return [_drop_event(delta) for delta in super().feed(data) if delta.has_content]

    def end(self) -> list[Delta]:
        """See `ResponsesReader.end`."""
        return [_drop_event(delta) for delta in super().end() if delta.has_content]


def translate_chat(request: ChatRequest) -> ChatRequest:
    """Return *request*, translated if its model answers only in the Responses API.

    Raises:
        BadRequest: A message or a parameter has no counterpart in the Responses API.
    """
    if request.api != "chat" or request.model not in _ONLY_RESPONSES:
        return request
    try:
        parameters = translate_body(request.body(), "chat", "responses")
    except BadRequest as error:
        error.notes = (f"the model `{request.model}` answers in the Responses API only",)
        error.fix = 'core.llm.send({...}, api="responses")'
        raise
    return TranslatedRequest(
        model=request.model,
        messages=(),
        parameters=parameters,
        timeout_s=request.timeout_s,
        idle_s=request.idle_s,
        api="responses",
    )


def _drop_event(delta: Delta) -> Delta:
    return msgspec.structs.replace(delta, raw=None, event_name=None)
