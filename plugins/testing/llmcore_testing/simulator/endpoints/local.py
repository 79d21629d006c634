"""What Ollama, llama.cpp and LM Studio say of their models, in protocols of their own and without a key."""

from __future__ import annotations

from typing import Any, Final

from llmcore_testing.simulator.common import (
    CONTEXT_LENGTH,
    DEFAULT_MODELS,
    headers,
    read_json_body,
    read_model,
)
from llmcore_testing.simulator.refusals import refusal
from llmcore_testing.simulator.routing import Call, Group, Route
from llmcore_testing.simulator.wire import Answer, encode

__all__ = ["GROUP", "ROUTES"]


def _show(call: Call) -> Answer:
    """Ollama: describe one model."""
    read_model(call, read_json_body(call))
    info = {"general.architecture": "simulator", "simulator.context_length": CONTEXT_LENGTH}
    return _json({"details": {"family": "simulator"}, "model_info": info, "capabilities": ["completion"]})


def _props(call: Call) -> Answer:  # noqa: ARG001 - the server has one model
    """llama.cpp: describe the server."""
    return _json({"default_generation_settings": {"n_ctx": CONTEXT_LENGTH}, "total_slots": 1})


def _list(call: Call) -> Answer:
    """LM Studio: list the models with their state."""
    known = DEFAULT_MODELS if call.settings.models is None else call.settings.models
    return _json({"object": "list", "data": [_entry(model) for model in known]})


def _entry(model: str) -> dict[str, Any]:
    kind = "embeddings" if "embedding" in model else "llm"
    return {"id": model, "type": kind, "state": "not-loaded", "max_context_length": CONTEXT_LENGTH}


def _json(value: Any) -> Answer:
    return Answer(pieces=(encode(value),), headers=headers(0), counted="models")


GROUP: Final = Group(name="local", key=None, refuse=refusal)

ROUTES: Final = (
    Route("POST", "/api/show", _show, GROUP),
    Route("GET", "/props", _props, GROUP),
    Route("GET", "/api/v0/models", _list, GROUP),
)
