"""Find options of a voice that change its audio, for `llmcore plugins check`.

The host caches audio under the traits of a voice, not under its options. So an option that changes the audio must change
the traits; otherwise the host plays cached audio of other options. The check cannot know which options change the audio:
it tries another value of each option, and compares the audio.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from llmcore.config.fields import Field, get_fields, has_type
from llmcore.errors import LLMCoreError
from llmcore.hookspecs import Provider
from llmcore.types import AudioFormat, Duration, Secret, Size

__all__ = ["Variations", "find_variations"]

_TEXT: Final = "It rains in the mountains."
_FACTORS: Final = (1.25, 0.8, 1.1, 0.9)
"""A number is multiplied by each of these factors, until the audio changes."""
_OTHER: Final = (Secret, Duration, Size, Path)
"""Types of options that cannot change the audio."""
Call = Callable[..., Any]
"""Creates the provider with some options changed, and calls a method: `call({"speed": 2.0}, "synthesize", "Hello")`."""


class Variations(NamedTuple):
    """The result of the search."""

    values: Mapping[str, Any]
    """Option -> another value, with which the same text gets other audio."""
    untried: tuple[str, ...] = ()
    """Options of which no other valid value is known."""
    reason: str = ""
    """Why no option was tried."""

    def describe(self) -> str:
        """Return why there is no variation."""
        if self.reason or not self.untried:
            return self.reason or "no option changes the audio"
        return f"the check knows no other value of {', '.join(f'`{name}`' for name in self.untried)}"


def find_variations(
    entry: Provider, current: Mapping[str, Any], places: frozenset[str], call: Call
) -> Variations:
    """Find the options that change the audio: speak a short text with another value of each option.

    Args:
        entry: The provider.
        current: The options in use.
        places: Names of options that select a server or a folder. They are not changed.
        call: See `Call`.
    """
    usual, again = (_speak(call, {}) for _ in range(2))
    if usual is None or again is None:  # the tests report the error of the voice
        return Variations({}, reason="the voice does not speak")
    if usual != again:
        return Variations(
            {}, reason="equal requests get different audio, so the effect of an option cannot be heard"
        )
    values: dict[str, Any] = {}
    untried: list[str] = []
    for key, field in get_fields(entry.options).items():
        if key in places or any(has_type(field.type, other) for other in _OTHER):
            continue
        was_accepted = False
        for value in _list_values(field, current.get(field.name), call):
            audio = _speak(call, {key: value})
            was_accepted = was_accepted or audio is not None
            if audio not in (None, usual):
                values[key] = value
                break
        if not was_accepted:
            untried.append(key)
    return Variations(values, tuple(untried))


def _speak(call: Call, changed: Mapping[str, Any]) -> bytes | None:
    """Return the audio of a short text; None if the voice raises an error, for example for an invalid option."""
    try:
        audio: bytes = call(changed, "synthesize", _TEXT).audio
    except Exception:  # noqa: BLE001 - see above
        return None
    return audio


def _list_values(field: Field, now: Any, call: Call) -> Iterator[Any]:
    """Yield other values of an option. Some may be invalid."""
    kinds = typing.get_args(field.type) if _is_union(field.type) else (field.type,)
    for kind in kinds:
        if typing.get_origin(kind) is Literal:
            yield from (value for value in typing.get_args(kind) if value != now)
        elif kind is bool:
            yield not now
        elif kind in (int, float):
            base = now if isinstance(now, int | float) and now else 1
            yield from (kind(base * factor) for factor in _FACTORS if kind(base * factor) != now)
        elif kind is str:
            yield from (name for name in _list_names(field.key, call) if name != now)


def _list_names(key: str, call: Call) -> Iterator[str]:
    """Yield possible values for a text option named *key*; none if the name is unknown."""
    try:
        if key == "format":
            yield from typing.get_args(AudioFormat)
        elif key in {"voice", "voice_id"}:
            yield from (voice.voice_id for voice in call({}, "list_voices"))
        elif key in {"model", "model_id"}:
            yield from (model.model_id for model in call({}, "list_voice_models"))
    except LLMCoreError:
        return


def _is_union(kind: Any) -> bool:
    return len(typing.get_args(kind)) > 0 and typing.get_origin(kind) is not Literal
