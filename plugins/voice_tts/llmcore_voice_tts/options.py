"""The options of the voice `elevenlabs`."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from llmcore.hookspecs import Options
from llmcore.types import Secret
from llmcore_voice_tts.formats import EXPECTED, NAMES

__all__ = ["OFFICIAL", "ElevenLabsOptions"]

OFFICIAL: Final = "https://api.elevenlabs.io"

Part = Annotated[float, msgspec.Meta(ge=0, le=1)]


class ElevenLabsOptions(Options, frozen=True, kw_only=True):
    """The table `[voice.elevenlabs]`: the server, the account, and defaults for calls."""

    api_key: Secret | None = None
    """A reference such as "env:ELEVENLABS_API_KEY", which is the default."""
    base_url: str = OFFICIAL
    """The address of the server, such as "https://api.eu.residency.elevenlabs.io" for another region."""
    voice: Annotated[
        str, msgspec.Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z", description="the id of a voice")
    ] = "JBFqnCBsd6RMkjVDRZzb"
    """The id of a voice. The default is George, which every account has."""
    model: Annotated[str, msgspec.Meta(min_length=1)] = "eleven_multilingual_v2"
    format: Annotated[str, msgspec.Meta(pattern=rf"\A(?:{'|'.join(NAMES)})\Z", description=EXPECTED)] = "mp3"
    """mp3, wav, pcm, opus, ulaw or alaw, or a name of the vendor, such as "mp3_44100_192"."""
    language: (
        Annotated[
            str,
            msgspec.Meta(
                pattern=r"\A[A-Za-z]{2,3}([-_][A-Za-z0-9]+)*\Z", description='such as "de" or "en-GB"'
            ),
        ]
        | None
    ) = None
    """BCP 47, such as "de"; not for models that detect the language."""
    stability: Part | None = None
    """0 to 1. Default: the setting of the voice."""
    similarity_boost: Part | None = None
    """0 to 1."""
    style: Part | None = None
    """0 to 1."""
    speed: Annotated[float, msgspec.Meta(ge=0.7, le=1.2)] | None = None
    """0.7 to 1.2."""
    use_speaker_boost: bool | None = None
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)] | None = None
    """0 to 4294967295: the same seed gives a similar result."""
    pronunciation_dictionaries: Annotated[
        list[Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_-]+(:[A-Za-z0-9_-]+)?\Z")]],
        msgspec.Meta(max_length=3, description='at most three of "ID" or "ID:VERSION"'),
    ] = msgspec.field(default_factory=list)
    """Up to three, each "ID" or "ID:VERSION"."""
    concurrency: Annotated[int, msgspec.Meta(ge=1)] = 2
    """Maximum concurrent requests for the pieces of one text; the smallest plan allows two."""
