"""The account of the voice `openai`, whose errors name the settings of the voice."""

from __future__ import annotations

import msgspec

from llmcore.errors import ConfigError
from llmcore_openai_optimized.account import Account
from llmcore_openai_optimized.options import SpeechOptions

__all__ = ["make_speech_account", "validate_account"]


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
