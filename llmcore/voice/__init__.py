"""Speaking: what an application calls, and the life of a text until it is audio."""

from llmcore.voice.client import VoiceClient

__all__ = ["VoiceClient"]
