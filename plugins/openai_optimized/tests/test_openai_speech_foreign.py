"""The voice `openai` against a third-party server."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from llmcore.errors import AuthenticationFailed
from llmcore.types import Secret
from llmcore_openai_optimized.options import SpeechOptions
from llmcore_openai_optimized.speech import OpenAIVoice
from llmcore_testing.simulator.sounds import Codec, speak

TEXT = "It rains. Take an umbrella, please!"
AUDIO = speak(TEXT, Codec("mp3", 24000, 128))


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    command = os.environ.get("LLMCORE_AIMOCK")
    if not command:
        pytest.skip("aimock is not installed (make aimock)")
    folder = tmp_path_factory.mktemp("aimock")
    audio = {"audio": base64.b64encode(AUDIO).decode(), "format": "mp3"}
    rules = {"fixtures": [{"match": {"endpoint": "speech"}, "response": audio}]}
    (folder / "speech.json").write_text(json.dumps(rules))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        ["node", command, "-p", str(port), "-f", str(folder), "--log-level", "warn"],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "AIMOCK_API_KEYS": "sk-right"},
    )
    try:
        wait_for(port)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(timeout=60)


def wait_for(port: int) -> None:
    """Return when something listens on *port*."""
    end = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < end, "the server did not start"
            time.sleep(0.02)
        else:
            return


def test_a_text_is_spoken_sync_and_async(address: str) -> None:
    voice = OpenAIVoice(SpeechOptions(api_key=Secret("sk-right"), base_url=address))
    for speech in (voice.synthesize(TEXT), asyncio.run(voice.asynthesize(TEXT))):
        assert (speech.audio, speech.characters) == (AUDIO, len(TEXT))
    assert b"".join(voice.stream_speech(TEXT)) == AUDIO
    voice.close()


def test_a_wrong_key_is_an_authentication_error(address: str) -> None:
    voice = OpenAIVoice(SpeechOptions(api_key=Secret("sk-wrong"), base_url=address))
    with pytest.raises(AuthenticationFailed):
        voice.synthesize(TEXT)
    voice.close()
