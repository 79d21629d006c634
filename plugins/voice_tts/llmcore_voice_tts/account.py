"""Which server is asked, on whose account, and what is said where the caller names nothing: the options."""

from __future__ import annotations

import hashlib
import os
import re
from typing import Annotated, Final

import msgspec

from llmcore.errors import ConfigError
from llmcore.hookspecs import Options
from llmcore.types import Secret
from llmcore_voice_tts.formats import NAMES, SAID

__all__ = ["Account", "ElevenLabsOptions"]

OFFICIAL: Final = "https://api.elevenlabs.io"
VARIABLE: Final = "ELEVENLABS_API_KEY"

_ADDRESS: Final = re.compile(r"https?://[^\s/@?#]+(/[^\s?#]*)?")
"""No password and no query: either would show in errors, and go where the key goes."""


Part = Annotated[float, msgspec.Meta(ge=0, le=1)]


class ElevenLabsOptions(Options, frozen=True, kw_only=True):
    """The table `[voice.elevenlabs]`: the server, the account, and what a call that does not say so takes."""

    api_key: Secret | None = None
    """A reference such as "env:ELEVENLABS_API_KEY", which is also what is read when it is left out."""
    base_url: str = OFFICIAL
    """Another region's address, such as "https://api.eu.residency.elevenlabs.io", or a simulator's."""
    voice: Annotated[
        str, msgspec.Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z", description="the id of a voice")
    ] = "JBFqnCBsd6RMkjVDRZzb"
    """The id of a voice; this is George, one of those that every account has."""
    model: Annotated[str, msgspec.Meta(min_length=1)] = "eleven_multilingual_v2"
    format: Annotated[str, msgspec.Meta(pattern=rf"\A(?:{'|'.join(NAMES)})\Z", description=SAID)] = "mp3"
    """mp3, wav, pcm, opus, ulaw or alaw, or the vendor's own name of one, such as "mp3_44100_192"."""
    language: (
        Annotated[
            str,
            msgspec.Meta(
                pattern=r"\A[A-Za-z]{2,3}([-_][A-Za-z0-9]+)*\Z", description='such as "de" or "en-GB"'
            ),
        ]
        | None
    ) = None
    """BCP 47, such as "de"; not for models that find it out by themselves."""
    stability: Part | None = None
    """0 to 1. What is left out is as the voice has it set."""
    similarity_boost: Part | None = None
    """0 to 1."""
    style: Part | None = None
    """0 to 1."""
    speed: Annotated[float, msgspec.Meta(ge=0.7, le=1.2)] | None = None
    """0.7 to 1.2."""
    use_speaker_boost: bool | None = None
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)] | None = None
    """0 to 4294967295: the same seed sounds about the same."""
    pronunciation_dictionaries: Annotated[
        list[Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_-]+(:[A-Za-z0-9_-]+)?\Z")]],
        msgspec.Meta(max_length=3, description='at most three of "ID" or "ID:VERSION"'),
    ] = msgspec.field(default_factory=list)
    """Up to three, each "ID" or "ID:VERSION"."""
    concurrency: Annotated[int, msgspec.Meta(ge=1)] = 2
    """Requests at once for the pieces of one text: the smallest plan allows two."""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Where requests go and who pays."""

    base_url: str
    configured: Secret | None

    @classmethod
    def of(cls, options: ElevenLabsOptions) -> Account:
        """Return the account of *options*."""
        return cls(base_url=options.base_url.rstrip("/"), configured=options.api_key)

    @property
    def key_source(self) -> str:
        """Where the key stands, or would have to."""
        return "[voice.elevenlabs] api_key" if self.configured is not None else VARIABLE

    def key(self) -> str | None:
        """Return the key, read in this moment: a variable may have been set after the start."""
        found = os.environ.get(VARIABLE, "") if self.configured is None else self.configured.reveal()
        return found.strip() or None

    def digest(self) -> str:
        """Return what tells accounts apart without telling the key; empty where there is none."""
        key = self.key()
        return "" if key is None else hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:32]

    def check(self) -> None:
        """Raise ConfigError where nothing can be sent: no address, no key, or one that no header can hold."""
        if not _ADDRESS.fullmatch(self.base_url):
            raise ConfigError(
                "`base_url` is not the address of a server",
                code="LC203",
                where="[voice.elevenlabs] base_url",
                expected="http:// or https://, a host, and no name, password or query in it",
                fix=f"llmcore config set voice.elevenlabs.base_url {OFFICIAL}",
            )
        key = self.key()
        if key is None:
            raise ConfigError(
                f"no API key for the voice provider `elevenlabs`: {self.key_source} is not set",
                code="LC201",
                where="[voice.elevenlabs] api_key",
                expected=f"the key in the environment variable {VARIABLE}",
                notes=('without a key, provider = "espeak" in [voice] speaks at no cost',),
                fix=f"export {VARIABLE}=sk_...",
            )
        if not (key.isascii() and key.isprintable() and " " not in key):
            raise ConfigError(
                f"the API key from {self.key_source} holds characters that no HTTP header can hold",
                code="LC204",
                where="[voice.elevenlabs] api_key",
                expected="printable ASCII without spaces",
                fix=f"copy the key again into {VARIABLE}",
            )
