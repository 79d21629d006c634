"""What one simulator keeps for ElevenLabs' callers until its reset: voices, and pronunciation dictionaries."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from llmcore_testing.simulator.endpoints.eleven_errors import refused
from llmcore_testing.simulator.routing import Call

_NAMES: Final = (
    ("Adam", "male", "en", "american"), ("Alice", "female", "en", "british"), ("Bruno", "male", "de", "standard"),
    ("Carla", "female", "it", "standard"), ("Daniel", "male", "en", "british"), ("Emma", "female", "en", "american"),
    ("Felix", "male", "de", "austrian"), ("Greta", "female", "sv", "standard"), ("Hugo", "male", "fr", "parisian"),
    ("Ines", "female", "es", "mexican"), ("Jonas", "male", "de", "standard"), ("Klara", "female", "cs", "standard"),
)  # fmt: skip
_ID_LENGTH: Final = 20
USUAL_VOICE: Final = "JBFqnCBsd6RMkjVDRZzb"
"""The id of a voice that the vendor's own examples speak with."""


@dataclass(slots=True)
class Shelf:
    """Voices and dictionaries by their id."""

    voices: dict[str, dict[str, Any]] = field(default_factory=dict)
    dictionaries: dict[str, dict[str, Any]] = field(default_factory=dict)
    numbers: Iterable[int] = field(default_factory=lambda: itertools.count(1))

    def new_id(self, prefix: str) -> str:
        """Return an id of the vendor's length."""
        number = f"{next(iter(self.numbers)):x}"
        return prefix + "0" * (_ID_LENGTH - len(prefix) - len(number)) + number

    def add_voice(
        self, name: str, category: str, description: str, labels: dict[str, str], voice_id: str | None = None
    ) -> str:
        """Keep a voice; return its id."""
        voice_id = voice_id or self.new_id("Voice")
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

    def voice(self, voice_id: str) -> dict[str, Any]:
        """Return a voice.

        Raises:
            Refused: There is none.
        """
        found = self.voices.get(voice_id)
        if found is not None:
            return found
        if len(voice_id) != _ID_LENGTH or not voice_id.isalnum():
            raise refused(400, "invalid_uid", f"An invalid ID has been received: '{voice_id}'.")
        raise refused(404, "voice_not_found", f"A voice with the voice_id {voice_id} was not found.")

    def dictionary(self, dictionary_id: str) -> dict[str, Any]:
        """Return a pronunciation dictionary, or raise as `voice` does."""
        found = self.dictionaries.get(dictionary_id)
        if found is None:
            raise refused(404, "pronunciation_dictionary_not_found")
        return found


def shelf_of(call: Call) -> Shelf:
    """Return the shelf of the simulator that is asked."""
    shelf = call.script.kept("elevenlabs", _stocked)
    assert isinstance(shelf, Shelf)
    return shelf


def _stocked() -> Shelf:
    shelf = Shelf()
    for name, gender, language, accent in _NAMES:
        labels = {"gender": gender, "language": language, "accent": accent}
        shelf.add_voice(name, "premade", f"A {gender} voice, {accent}", labels)
    usual = {"gender": "male", "language": "en", "accent": "british"}
    shelf.add_voice("George", "premade", "A warm male voice, british", usual, USUAL_VOICE)
    return shelf
