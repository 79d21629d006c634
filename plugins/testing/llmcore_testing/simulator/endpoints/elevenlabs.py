"""ElevenLabs' endpoints below the root URL. Clients take the simulator's `url` as `base_url`."""

from __future__ import annotations

from typing import Final

from llmcore_testing.simulator.endpoints.eleven_errors import make_eleven_refusal
from llmcore_testing.simulator.endpoints.eleven_models import answer_models
from llmcore_testing.simulator.endpoints.eleven_speech import (
    convert,
    convert_with_timestamps,
    stream,
    stream_with_timestamps,
)
from llmcore_testing.simulator.endpoints.eleven_voices import (
    add_dictionary,
    add_voice,
    delete_voice,
    describe_voice,
    list_voices,
    search_voices,
)
from llmcore_testing.simulator.routing import Group, Route
from llmcore_testing.simulator.wire import RecordedRequest

__all__ = ["GROUP", "KEY_HEADER", "ROUTES"]

KEY_HEADER: Final = "xi-api-key"


def _read_key(request: RecordedRequest) -> str | None:
    return request.headers.get(KEY_HEADER) or None


GROUP: Final = Group(name="elevenlabs", key=_read_key, refuse=make_eleven_refusal, repeats_keys=False)

_SPEECH: Final = "/v1/text-to-speech/{voice}"
ROUTES: Final = (
    Route("POST", f"{_SPEECH}/stream/with-timestamps", stream_with_timestamps, GROUP),
    Route("POST", f"{_SPEECH}/with-timestamps", convert_with_timestamps, GROUP),
    Route("POST", f"{_SPEECH}/stream", stream, GROUP),
    Route("POST", _SPEECH, convert, GROUP),
    Route(
        "GET", "/v1/models", answer_models, GROUP, header=KEY_HEADER
    ),  # OpenAI's model list has the same path
    Route("GET", "/v2/voices", search_voices, GROUP),
    Route("GET", "/v1/voices", list_voices, GROUP),
    Route("POST", "/v1/voices/add", add_voice, GROUP),
    Route("GET", "/v1/voices/{voice}", describe_voice, GROUP),
    Route("DELETE", "/v1/voices/{voice}", delete_voice, GROUP),
    Route("POST", "/v1/pronunciation-dictionaries/add-from-rules", add_dictionary, GROUP),
)
