"""OpenAI's endpoints below /v1: chat, responses, embeddings, speech, models, files and batches."""

from __future__ import annotations

from functools import partial
from typing import Final

from llmcore_testing.simulator.endpoints import batches, files, reports
from llmcore_testing.simulator.endpoints.chat import answer_chat
from llmcore_testing.simulator.endpoints.embeddings import REWRITES, answer_embeddings
from llmcore_testing.simulator.endpoints.models import answer_model, answer_models
from llmcore_testing.simulator.endpoints.responses import answer_responses, make_big_response
from llmcore_testing.simulator.endpoints.speech import answer_speech
from llmcore_testing.simulator.faults import CREATING, REWRITING
from llmcore_testing.simulator.openai_errors import make_refusal
from llmcore_testing.simulator.routing import Group, Route
from llmcore_testing.simulator.wire import RecordedRequest

__all__ = ["GROUP", "ROUTES", "read_bearer_key"]


def read_bearer_key(request: RecordedRequest) -> str | None:
    """Return the key of `Authorization: Bearer KEY`."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None


GROUP: Final = Group(name="openai", key=read_bearer_key, refuse=make_refusal)

ROUTES: Final = (
    Route("POST", "/v1/chat/completions", answer_chat, GROUP, REWRITING),
    Route("POST", "/v1/responses", answer_responses, GROUP, REWRITING, make_big_response),
    Route("POST", "/v1/embeddings", answer_embeddings, GROUP, REWRITES),
    Route("POST", "/v1/audio/speech", answer_speech, GROUP),
    Route("GET", "/v1/models", answer_models, GROUP),
    Route("POST", "/v1/files", files.upload_file, GROUP),
    Route("GET", "/v1/files", files.list_files, GROUP),
    Route("GET", "/v1/files/{file}/content", files.read_file, GROUP),
    Route("GET", "/v1/files/{file}", files.describe_file, GROUP),
    Route("DELETE", "/v1/files/{file}", files.delete_file, GROUP),
    Route("POST", "/v1/batches", batches.create_batch, GROUP, CREATING),
    Route("GET", "/v1/batches", batches.list_batches, GROUP),
    Route("POST", "/v1/batches/{batch}/cancel", batches.cancel_batch, GROUP),
    Route("GET", "/v1/batches/{batch}", batches.answer_batch, GROUP),
    Route("GET", "/v1/models/{model}", answer_model, GROUP),
    Route("GET", "/v1/organization/costs", reports.answer_openai_costs, GROUP),
    *(
        Route(
            "GET",
            f"/v1/organization/usage/{endpoint}",
            partial(reports.answer_openai_usage, endpoint=endpoint),
            GROUP,
        )
        for endpoint in ("completions", "embeddings", "audio_speeches")
    ),
)
