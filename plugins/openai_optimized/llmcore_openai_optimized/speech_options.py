"""The options of the voice `openai`: the same account options as for chats, and defaults for calls."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from llmcore.errors import ConfigError
from llmcore_openai_optimized.account import Account, AccountOptions

__all__ = ["SpeechOptions", "make_speech_account"]


class SpeechOptions(AccountOptions, frozen=True, kw_only=True):
    """The table `[voice.openai]`. The options of server and account are the same as in `[llm.openai]`."""

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
    """Instructions for the speaking style; not for tts-1 and tts-1-hd."""
    concurrency: Annotated[int, msgspec.Meta(ge=1)] = 4
    """Maximum concurrent requests for the pieces of one text."""


def make_speech_account(options: SpeechOptions) -> Account:
    """Return the account. Errors name the settings of the voice, not the settings of the language model.

    Raises:
        ConfigError: The Azure options are incomplete, or used together with `base_url`.
    """
    try:
        account = Account.from_options(options)
    except ConfigError as error:
        fault = _adapt_to_voice(error)
    else:
        return msgspec.structs.replace(
            account, key_source=_rename_tables(account.key_source), table=_rename_tables(account.table)
        )
    raise fault


def validate_account(account: Account) -> Account:
    """Check that requests can be sent; see `Account.validate`."""
    try:
        return account.validate()
    except ConfigError as error:
        fault = _adapt_to_voice(error)
    raise fault


def _adapt_to_voice(error: ConfigError) -> ConfigError:
    return ConfigError(
        _rename_tables(error.message),
        code=error.code,
        where=_rename_tables(error.where or "") or None,
        expected=error.expected,
        notes=[_rename_tables(note) for note in error.notes],
        fix=_rename_tables(error.fix or "") or None,
    )


def _rename_tables(text: str) -> str:
    text = text.replace('"echo" in [llm] works', '"espeak" in [voice] works')
    return (
        text.replace("[llm", "[voice")
        .replace("llm.openai", "voice.openai")
        .replace("llm provider", "voice provider")
    )
