"""The voices and pronunciation dictionaries of the simulated ElevenLabs account. A reset restores the initial state."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from llmcore_testing.simulator.endpoints.eleven_errors import make_error
from llmcore_testing.simulator.routing import Call

__all__ = ["USUAL_VOICE", "VoiceStore", "find_store"]

_NAMES: Final = (
    ("Adam", "male", "en", "american"), ("Alice", "female", "en", "british"), ("Bruno", "male", "de", "standard"),
    ("Carla", "female", "it", "standard"), ("Daniel", "male", "en", "british"), ("Emma", "female", "en", "american"),
    ("Felix", "male", "de", "austrian"), ("Greta", "female", "sv", "standard"), ("Hugo", "male", "fr", "parisian"),
    ("Ines", "female", "es", "mexican"), ("Jonas", "male", "de", "standard"), ("Klara", "female", "cs", "standard"),
)  # fmt: skip
_ID_LENGTH: Final = 20
USUAL_VOICE: Final = "JBFqnCBsd6RMkjVDRZzb"
"""The voice id in ElevenLabs' own examples."""


@dataclass(slots=True)
class VoiceStore:
    """Voices and dictionaries by id."""

    voices: dict[str, dict[str, Any]] = field(default_factory=dict)
    dictionaries: dict[str, dict[str, Any]] = field(default_factory=dict)
    numbers: Iterable[int] = field(default_factory=lambda: itertools.count(1))

    def make_id(self, prefix: str) -> str:
        """Return a new id of the same length as ElevenLabs' ids."""
        number = f"{next(iter(self.numbers)):x}"
        return prefix + "0" * (_ID_LENGTH - len(prefix) - len(number)) + number

    def add_voice(
        self, name: str, category: str, description: str, labels: dict[str, str], voice_id: str | None = None
    ) -> str:
        """Add a voice and return its id."""
        voice_id = voice_id or self.make_id("Voice")
        self.voices[voice_id] = {
            "voice_id": voice_id,
            "name": name,
            "category": category,
            "description": description,
            "labels": labels,
            "verified_languages": [{"language": labels.get("language", "en"), "model_id": "eleven_v4"}],
            "preview_url": None,
            "created_at_unix": 1_700_000_000 + len(self.voices),
        }
        return voice_id

    def find_voice(self, voice_id: str) -> dict[str, Any]:
        """Return a voice.

        Raises:
            Refused: The id is malformed or unknown.
        """
        found = self.voices.get(voice_id)
        if found is not None:
            return found
        if len(voice_id) != _ID_LENGTH or not voice_id.isalnum():
            raise make_error(400, "invalid_uid", f"An invalid ID has been received: '{voice_id}'.")
        raise make_error(404, "voice_not_found", f"A voice with the voice_id {voice_id} was not found.")

    def find_dictionary(self, dictionary_id: str) -> dict[str, Any]:
        """Return a pronunciation dictionary.

        Raises:
            Refused: The id is unknown.
        """
        found = self.dictionaries.get(dictionary_id)
        if found is None:
            raise make_error(404, "pronunciation_dictionary_not_found")
        return found


def find_store(call: Call) -> VoiceStore:
    """Return the voice store of the simulator that received *call*."""
    store = call.script.get_or_create("elevenlabs", _make_store)
    assert isinstance(store, VoiceStore)
    return store


def _make_store() -> VoiceStore:
    store = VoiceStore()
    for name, gender, language, accent in _NAMES:
        labels = {"gender": gender, "language": language, "accent": accent}
        store.add_voice(name, "premade", f"A {gender} voice, {accent}", labels)
    usual = {"gender": "male", "language": "en", "accent": "british"}
    store.add_voice("George", "premade", "A warm male voice, british", usual, USUAL_VOICE)
    return store
