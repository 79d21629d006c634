"""OpenAI's endpoints in Azure's form: the deployment in the path, the header `api-key`, an api-version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from llmcore_testing.simulator.endpoints import batches, files
from llmcore_testing.simulator.endpoints.chat import answer_chat
from llmcore_testing.simulator.endpoints.embeddings import REWRITES, answer_embeddings
from llmcore_testing.simulator.endpoints.models import answer_models
from llmcore_testing.simulator.endpoints.openai import read_bearer_key
from llmcore_testing.simulator.endpoints.speech import answer_speech
from llmcore_testing.simulator.faults import CREATING, REWRITING
from llmcore_testing.simulator.openai_errors import make_refusal
from llmcore_testing.simulator.routing import Call, Group, Route
from llmcore_testing.simulator.wire import Answer, RecordedRequest

__all__ = ["GROUP", "ROUTES", "read_azure_key"]


def read_azure_key(request: RecordedRequest) -> str | None:
    """Return the key of the header `api-key` or of a bearer token."""
    return request.headers.get("api-key") or read_bearer_key(request)


def _require_version(answer: Callable[[Call], Answer]) -> Callable[[Call], Answer]:
    def check_and_answer(call: Call) -> Answer:
        if not call.request.query.get("api-version"):
            return make_refusal(404, "Resource not found", code="404")
        return answer(call)

    return check_and_answer


GROUP: Final = Group(name="azure", key=read_azure_key, refuse=make_refusal)

_DEPLOYMENT: Final = "/openai/deployments/{model}"
ROUTES: Final = (
    Route("POST", f"{_DEPLOYMENT}/chat/completions", _require_version(answer_chat), GROUP, REWRITING),
    Route("POST", f"{_DEPLOYMENT}/embeddings", _require_version(answer_embeddings), GROUP, REWRITES),
    Route("POST", f"{_DEPLOYMENT}/audio/speech", _require_version(answer_speech), GROUP),
    Route("GET", "/openai/models", _require_version(answer_models), GROUP),
    Route("POST", "/openai/files", _require_version(files.upload_file), GROUP),
    Route("GET", "/openai/files/{file}/content", _require_version(files.read_file), GROUP),
    Route("POST", "/openai/batches", _require_version(batches.create_batch), GROUP, CREATING),
    Route("GET", "/openai/batches", _require_version(batches.list_batches), GROUP),
    Route("POST", "/openai/batches/{batch}/cancel", _require_version(batches.cancel_batch), GROUP),
    Route("GET", "/openai/batches/{batch}", _require_version(batches.answer_batch), GROUP),
    Route("POST", "/openai/v1/chat/completions", answer_chat, GROUP, REWRITING),
    Route("POST", "/openai/v1/embeddings", answer_embeddings, GROUP, REWRITES),
    Route("GET", "/openai/v1/models", answer_models, GROUP),
)
