"""A table of finish reasons: other servers' words -> the words of OpenAI's Chat Completions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ["normalise_finish_reason"]

_WORDS: Final[Mapping[str, str]] = {
    "stop": "stop end end_turn eos eos_token eos_found stop_sequence stop_token stop_word stop_words pause_turn complete "
    "completed finish finished done normal",
    "length": "length max_tokens max_output_tokens max_new_tokens max_completion_tokens max_length model_length "
    "token_limit context_length context_window model_context_window_exceeded error_limit incomplete",
    "tool_calls": "tool_calls tool_call tool_use",
    "function_call": "function_call",
    "content_filter": "content_filter content_filtered safety recitation blocklist prohibited_content spii sensitive "
    "refusal moderation guardrail_intervened image_safety image_prohibited_content error_toxic",
    "": "null none finish_reason_unspecified",
}
"""OpenAI's words, and those of other servers: Together, TGI, Cohere, Anthropic and Bedrock behind a gateway, Gemini,
Mistral, DashScope (the text "null"), z.ai."""

_TABLE: Final[Mapping[str, str]] = {word: ours for ours, words in _WORDS.items() for word in words.split()}


def normalise_finish_reason(reason: Any) -> str | None:
    """Return the finish reason in OpenAI's vocabulary; None if *reason* means that the answer has not ended.

    The case and a prefix such as `FinishReason.` are ignored. An unknown word is returned as it is.
    """
    if not isinstance(reason, str) or not reason:
        return None
    if reason in _WORDS:  # the reason is already a word of OpenAI
        return reason
    word = reason.strip().lower().rpartition(".")[2]
    return _TABLE.get(word, reason.strip()) or None
