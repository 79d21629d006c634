"""GET /v1/models and GET /v1/models/{model}."""

from __future__ import annotations

from typing import Any

from llmcore_testing.simulator.openai_common import CONTEXT_LENGTH, DEFAULT_MODELS, make_headers, read_model
from llmcore_testing.simulator.routing import Call
from llmcore_testing.simulator.wire import Answer, encode

__all__ = ["answer_model", "answer_models"]


def answer_models(call: Call) -> Answer:
    """List the simulator's models."""
    known = DEFAULT_MODELS if call.settings.models is None else call.settings.models
    body = {"object": "list", "data": [_describe_model(model) for model in known]}
    return Answer(pieces=(encode(body),), headers=make_headers(0), counted="models")


def answer_model(call: Call) -> Answer:
    """Describe one model."""
    return Answer(
        pieces=(encode(_describe_model(read_model(call, {}))),), headers=make_headers(0), counted="models"
    )


def _describe_model(model: str) -> dict[str, Any]:
    return {
        "id": model,
        "object": "model",
        "created": 1_735_689_600,
        "owned_by": "simulator",
        "max_model_len": CONTEXT_LENGTH,
    }
