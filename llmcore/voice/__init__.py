"""Speech synthesis: the client, and all steps from a text to its audio."""

from llmcore.voice.client import VoiceClient

__all__ = ["VoiceClient"]
