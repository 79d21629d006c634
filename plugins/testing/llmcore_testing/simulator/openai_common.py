"""Functions that all OpenAI endpoints use: response headers, identifiers, and the check of the model name."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Mapping
from typing import Any, Final

from llmcore_testing.simulator.openai_errors import Refused, make_invalid, make_refusal
from llmcore_testing.simulator.routing import Call

__all__ = [
    "CONTEXT_LENGTH",
    "DEFAULT_MODELS",
    "FINGERPRINT",
    "make_headers",
    "make_id",
    "read_json_body",
    "read_model",
]

DEFAULT_MODELS: Final = ("gpt-4o-mini", "gpt-5.6-luna", "gpt-6-sol", "text-embedding-3-small")
CONTEXT_LENGTH: Final = 131_072
"""The context length of every model, in tokens. vLLM, Ollama, llama.cpp and LM Studio report it in their model lists."""
FINGERPRINT: Final = "fp_simulator"
_RUN: Final = secrets.token_hex(6)
_NUMBERS: Final = itertools.count(1)


def make_id(prefix: str) -> str:
    """Return an identifier that is unique in this process."""
    return f"{prefix}{_RUN}{next(_NUMBERS):08x}"


def make_headers(tokens: int) -> dict[str, str]:
    """Return the response headers for a request that used *tokens*."""
    return {
        "x-request-id": make_id("req_"),
        "openai-processing-ms": "1",
        "openai-version": "2020-10-01",
        "x-ratelimit-limit-requests": "10000",
        "x-ratelimit-limit-tokens": "2000000",
        "x-ratelimit-remaining-requests": "9999",
        "x-ratelimit-remaining-tokens": str(max(0, 2_000_000 - tokens)),
        "x-ratelimit-reset-requests": "6ms",
        "x-ratelimit-reset-tokens": "0s",
    }


def read_json_body(call: Call) -> Mapping[str, Any]:
    """Return the request's JSON object.

    Raises:
        Refused: The body is not a JSON object.
    """
    if not isinstance(call.request.body, dict):
        raise make_invalid(
            "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP "
            "library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)"
        )
    return call.request.body


def read_model(call: Call, body: Mapping[str, Any]) -> str:
    """Return the requested model. An Azure deployment in the path takes precedence.

    Raises:
        Refused: The model is missing, is not text, or is unknown to the simulator.
    """
    model = call.names.get("model") or body.get("model")
    if not model:
        raise make_invalid("you must provide a model parameter")
    if not isinstance(model, str):
        raise make_invalid("Invalid type for 'model': expected a string.", param="model", code="invalid_type")
    if call.settings.models is not None and model not in call.settings.models:
        message = f"The model `{model}` does not exist or you do not have access to it."
        raise Refused(make_refusal(404, message, code="model_not_found"))
    return model
