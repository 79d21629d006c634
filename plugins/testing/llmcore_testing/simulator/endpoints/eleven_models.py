"""GET /v1/models of ElevenLabs. Each model has its limits."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from llmcore_testing.simulator.routing import Call
from llmcore_testing.simulator.wire import Answer, encode

__all__ = ["MODELS", "Model", "answer_models"]


class Model(NamedTuple):
    """A model of ElevenLabs."""

    name: str
    most_characters: int
    credits_per_character: float
    speaks: bool = True


MODELS: Final = {
    "eleven_multilingual_v2": Model("Eleven Multilingual v2", 10_000, 1.0),
    "eleven_flash_v2_5": Model("Eleven Flash v2.5", 40_000, 0.5),
    "eleven_v3": Model("Eleven v3", 5_000, 1.0),
    "eleven_v4": Model("Eleven v4", 10_000, 1.0),
    "eleven_v4_turbo": Model("Eleven v4 Turbo", 10_000, 0.5),
    "eleven_english_sts_v2": Model("Eleven English v2", 10_000, 1.0, speaks=False),
}


def answer_models(call: Call) -> Answer:
    """List the models."""
    known = call.settings.models
    told = [_describe(name, model) for name, model in MODELS.items() if known is None or name in known]
    return Answer(pieces=(encode(told),), counted="models")


def _describe(name: str, model: Model) -> dict[str, Any]:
    return {
        "model_id": name,
        "name": model.name,
        "can_do_text_to_speech": model.speaks,
        "can_do_voice_conversion": not model.speaks,
        "can_use_style": True,
        "can_use_speaker_boost": True,
        "maximum_text_length_per_request": model.most_characters,
        "max_characters_request_subscribed_user": model.most_characters,
        "languages": [{"language_id": "en", "name": "English"}, {"language_id": "de", "name": "German"}],
        "model_rates": {"character_cost_multiplier": model.credits_per_character},
        "concurrency_group": "standard",
    }
