"""Spoken by a server that we did not write: the same calls, the same checks.

It offers speech that is whole, and voices one at a time; neither streams nor timestamps, lists, models or clones.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator

import httpx
import pytest

from llmcore.errors import AuthenticationFailed, BadRequest, RateLimited, Unavailable, VoiceNotFound
from llmcore.types import Secret
from llmcore_testing.simulator.sounds import Codec, speak
from llmcore_voice_tts.options import ElevenLabsOptions
from llmcore_voice_tts.provider import ElevenLabsVoice

TEXT = "It rains. Take an umbrella, please!"
AUDIO = speak(TEXT, Codec("mp3", 44100, 128))
FAILING = {"too fast": 429, "not well": 500, "not so": 422}


def fixtures() -> list[object]:
    endpoint = "elevenlabs-tts"
    failing = [
        {
            "match": {"endpoint": endpoint, "userMessage": words},
            "response": {"error": {"message": words, "type": "an_error"}, "status": status},
        }
        for words, status in FAILING.items()
    ]
    audio = {"audio": base64.b64encode(AUDIO).decode(), "format": "mp3"}
    return [*failing, {"match": {"endpoint": endpoint}, "response": audio}]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    command = os.environ.get("LLMCORE_AIMOCK")
    if not command:
        pytest.skip("aimock is not installed (make aimock)")
    folder = tmp_path_factory.mktemp("aimock")
    (folder / "speech.json").write_text(json.dumps({"fixtures": fixtures()}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        ["node", command, "-p", str(port), "-f", str(folder), "--log-level", "warn"],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "AIMOCK_API_KEYS": "sk_right"},
    )
    try:
        wait_for(port)
        yield f"http://127.0.0.1:{port}"
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


@pytest.fixture
def voice(address: str) -> Iterator[ElevenLabsVoice]:
    made = ElevenLabsVoice(ElevenLabsOptions(api_key=Secret("sk_right"), base_url=address))
    yield made
    made.close()


def test_a_text_is_spoken_sync_and_async(voice: ElevenLabsVoice) -> None:
    for speech in (voice.synthesize(TEXT), asyncio.run(voice.asynthesize(TEXT))):
        assert speech.audio == AUDIO
        assert (speech.format, speech.characters) == ("mp3", len(TEXT))
        assert str(speech.cost) == "0.00280"  # no header gives the credits, so the table is used


@pytest.mark.parametrize(
    ("words", "kind"), [("too fast", RateLimited), ("not well", Unavailable), ("not so", BadRequest)]
)
def test_its_refusals_are_typed_by_their_status(
    voice: ElevenLabsVoice, words: str, kind: type[Exception]
) -> None:
    with pytest.raises(kind, match=words):
        voice.synthesize(words)


def test_a_wrong_key_is_an_authentication_error(address: str) -> None:
    voice = ElevenLabsVoice(ElevenLabsOptions(api_key=Secret("sk_wrong"), base_url=address))
    with pytest.raises(AuthenticationFailed):
        voice.synthesize(TEXT)
    voice.close()


@pytest.mark.parametrize("variant", ["sync", "async"])
def test_a_voice_is_described_and_deleted(address: str, voice: ElevenLabsVoice, variant: str) -> None:
    designed = {
        "voice_name": "Ann",
        "voice_description": "A calm voice that reads out the weather of tomorrow.",
        "generated_voice_id": f"gen{variant}0000000000001",
        "labels": {"accent": "british"},
    }
    made = httpx.post(f"{address}/v1/text-to-voice", json=designed, headers={"xi-api-key": "sk_right"})
    voice_id = made.json()["voice_id"]
    if variant == "sync":
        info = voice.get_voice_info(voice_id)
        assert voice.delete_voice(voice_id)
        with pytest.raises(VoiceNotFound):
            voice.get_voice_info(voice_id)
    else:
        info = asyncio.run(voice.aget_voice_info(voice_id))
        assert asyncio.run(voice.adelete_voice(voice_id))
        with pytest.raises(VoiceNotFound):
            asyncio.run(voice.aget_voice_info(voice_id))
    assert (info.voice_id, info.name, info.description) == (voice_id, "Ann", designed["voice_description"])
    assert info.labels == {"accent": "british", "category": "generated"}
