"""The model endpoints of Ollama, llama.cpp and LM Studio. Their requests need no key."""

from __future__ import annotations

from typing import Any, Final

from llmcore_testing.simulator.openai_common import (
    CONTEXT_LENGTH,
    DEFAULT_MODELS,
    make_headers,
    read_json_body,
    read_model,
)
from llmcore_testing.simulator.openai_errors import make_refusal
from llmcore_testing.simulator.routing import Call, Group, Route
from llmcore_testing.simulator.wire import Answer, encode

__all__ = ["GROUP", "ROUTES"]


def _answer_show(call: Call) -> Answer:
    """Describe one model in Ollama's format."""
    read_model(call, read_json_body(call))
    info = {"general.architecture": "simulator", "simulator.context_length": CONTEXT_LENGTH}
    return _make_json(
        {"details": {"family": "simulator"}, "model_info": info, "capabilities": ["completion"]}
    )


def _answer_props(call: Call) -> Answer:  # noqa: ARG001 - the server has one model
    """Describe the server in llama.cpp's format."""
    return _make_json({"default_generation_settings": {"n_ctx": CONTEXT_LENGTH}, "total_slots": 1})


def _answer_list(call: Call) -> Answer:
    """List the models and their states in LM Studio's format."""
    known = DEFAULT_MODELS if call.settings.models is None else call.settings.models
    return _make_json({"object": "list", "data": [_describe_model(model) for model in known]})


def _describe_model(model: str) -> dict[str, Any]:
    kind = "embeddings" if "embedding" in model else "llm"
    return {"id": model, "type": kind, "state": "not-loaded", "max_context_length": CONTEXT_LENGTH}


def _make_json(value: Any) -> Answer:
    return Answer(pieces=(encode(value),), headers=make_headers(0), counted="models")


GROUP: Final = Group(name="local", key=None, refuse=make_refusal)

ROUTES: Final = (
    Route("POST", "/api/show", _answer_show, GROUP),
    Route("GET", "/props", _answer_props, GROUP),
    Route("GET", "/api/v0/models", _answer_list, GROUP),
)
