"""Complete the errors of a voice provider: add the setting at fault, the number of attempts, and a fix."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from llmcore.calls.backend import Backend
from llmcore.calls.failures import CallFacts, complete_failure
from llmcore.errors import BadRequest, ProviderError, VoiceNotFound
from llmcore.voice.call import SpeechCall

__all__ = ["complete_provider_error", "complete_setting_error", "complete_unknown_voice"]


def complete_provider_error(call: SpeechCall, error: ProviderError) -> None:
    """Add `where`, `expected`, the number of attempts, the elapsed seconds and a fix to *error*, as for a chat."""
    chosen = call.settings.get("model")
    complete_failure(
        error,
        CallFacts(
            backend=call.backend,
            model=str(chosen or ("" if call.traits is None else call.traits.model)),
            parameters=call.settings,
            model_path=None if chosen else ("voice", call.backend.name, "model"),
            timeout_s=call.timeout_s,
            method="synthesize",
            attempts=call.attempts,
            elapsed_s=time.monotonic() - call.started,
        ),
    )


def complete_setting_error(error: BadRequest, settings: Mapping[str, Any]) -> None:
    """Find the setting that *error* rejects, and add this setting and a fix to *error*.

    The message contains the name or the value of the setting.
    """
    near = error.suggestion
    right: str | None
    for name, value in settings.items():
        if f"`{name}`" in error.message:
            right = f"synthesize(..., {near}={value!r})" if near else f"synthesize(...) without {name}="
        elif repr(value) in error.message:
            right = f'synthesize(..., {name}="{near}")' if near else None
        else:
            continue
        error.where = error.where or f"{name}={value!r}"
        error.fix = error.fix or right
        return


def complete_unknown_voice(error: VoiceNotFound, backend: Backend, voice: str | None) -> None:
    """Add to *error* the argument or setting that names the voice, and a fix with the suggestion."""
    path = ("voice", backend.name, "voice")
    near = error.suggestion
    if voice is not None:
        error.where = error.where or f"voice={voice!r}"
        error.fix = f'synthesize(..., voice="{near}")' if near else error.fix
    elif backend.get_written(path) is not None:
        if error.where is None:
            error.where, error.excerpt = backend.locate(path)
        error.fix = backend.format_set_line(path, near) if near else error.fix
