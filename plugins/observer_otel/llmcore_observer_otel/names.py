"""The names of OpenTelemetry's conventions for generative AI (semantic-conventions-genai v0.1.0), and our own.

All `gen_ai` names have the status Development: they change between versions. So no other module contains them.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ATTEMPTS",
    "CACHED",
    "CACHE_READ_TOKENS",
    "CACHE_WRITE_TOKENS",
    "CALL",
    "CHARACTERS",
    "COST",
    "COST_SOURCE",
    "DURATION",
    "ERROR",
    "FINISH_REASONS",
    "FIRST_CHUNK_S",
    "INPUT_MESSAGES",
    "INPUT_TOKENS",
    "OPERATION",
    "OPERATIONS",
    "OUTPUT_MESSAGES",
    "OUTPUT_TOKENS",
    "PROVIDER",
    "REASONING_TOKENS",
    "REQUEST_MODEL",
    "RESPONSE_ID",
    "RESPONSE_MODEL",
    "TAGS",
    "TOKEN_TYPE",
    "TOKEN_USAGE",
    "USER",
]

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_ID: Final = "gen_ai.response.id"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
"""All input tokens, including tokens read from or written to the vendor's cache."""
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
"""All output tokens, including reasoning tokens."""
CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"
REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
FIRST_CHUNK_S: Final = "gen_ai.response.time_to_first_chunk"
"""The value is in seconds."""
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105 - not a password: a token is a unit of text
ERROR: Final = "error.type"

DURATION: Final = "gen_ai.client.operation.duration"
TOKEN_USAGE: Final = "gen_ai.client.token.usage"  # noqa: S105 - not a password: a token is a unit of text

COST: Final = "llmcore.cost"
"""The value is in USD. The conventions have no name for a cost yet."""
COST_SOURCE: Final = "llmcore.cost.source"
CACHED: Final = "llmcore.cached"
ATTEMPTS: Final = "llmcore.attempts"
CALL: Final = "llmcore.call"
"""The id of the call in the ledger."""
USER: Final = "llmcore.user"
TAGS: Final = "llmcore.tags"
CHARACTERS: Final = "llmcore.characters"
"""The characters of synthesized text."""

OPERATIONS: Final = {"llm": "chat", "embedding": "embeddings", "voice": "speech"}
"""Kind of a call -> name of the operation. The conventions have no name for speech."""
