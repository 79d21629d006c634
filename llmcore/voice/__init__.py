"""Speech synthesis: the client, and the path of a text until it is audio."""

from llmcore.voice.client import VoiceClient

__all__ = ["VoiceClient"]
