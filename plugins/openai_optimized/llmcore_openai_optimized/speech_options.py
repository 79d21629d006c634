"""The options of the voice `openai`: the account as for chats, and what a call that does not say so takes."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from llmcore.errors import ConfigError
from llmcore_openai_optimized.account import Account, AccountOptions

__all__ = ["SpeechOptions", "speech_account"]


class SpeechOptions(AccountOptions, frozen=True, kw_only=True):
    """The table `[voice.openai]`. The server and the account have the same keys as in `[llm.openai]`."""

    voice: Annotated[
        str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}\Z", description="the id of a voice")
    ] = "alloy"
    model: Annotated[str, msgspec.Meta(min_length=1)] = "tts-1"
    """OpenAI shuts down tts-1, tts-1-hd and gpt-4o-mini-tts on 2027-01-06."""
    format: Literal["mp3", "wav", "pcm", "opus", "aac", "flac"] = "mp3"
    """mp3, wav, pcm, opus, aac or flac."""
    speed: Annotated[float, msgspec.Meta(ge=0.25, le=4)] | None = None
    """0.25 to 4.0."""
    instructions: str | None = None
    """How to speak, in words; not for tts-1 and tts-1-hd."""
    concurrency: Annotated[int, msgspec.Meta(ge=1)] = 4
    """Requests at once for the pieces of one text."""


def speech_account(options: SpeechOptions) -> Account:
    """Return the account, with the names of its settings as they are for a voice.

    Raises:
        ConfigError: Azure is named by half, or beside another address.
    """
    try:
        account = Account.of(options)
    except ConfigError as error:
        fault = _of_a_voice(error)
    else:
        return msgspec.structs.replace(account, key_source=_renamed(account.key_source))
    raise fault


def signed(account: Account) -> Account:
    """Return the account, to which requests can be sent; see `Account.signed`."""
    try:
        return account.signed()
    except ConfigError as error:
        fault = _of_a_voice(error)
    raise fault


def _of_a_voice(error: ConfigError) -> ConfigError:
    return ConfigError(
        _renamed(error.message),
        code=error.code,
        where=_renamed(error.where or "") or None,
        expected=error.expected,
        notes=[_renamed(note) for note in error.notes],
        fix=_renamed(error.fix or "") or None,
    )


def _renamed(text: str) -> str:
    text = text.replace('"echo" in [llm] tries everything', '"espeak" in [voice] speaks')
    return (
        text.replace("[llm", "[voice")
        .replace("llm.openai", "voice.openai")
        .replace("llm provider", "voice provider")
    )
