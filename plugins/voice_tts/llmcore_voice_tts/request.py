"""From a caller's settings to what is sent: checked before anything is, with the nearest name for what is misspelt."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

import msgspec

from llmcore.errors import BadRequest, TextTooLong, VoiceError, VoiceNotFound
from llmcore_voice_tts.account import ElevenLabsOptions
from llmcore_voice_tts.formats import Format, format_named
from llmcore_voice_tts.models import Model, model_named

__all__ = ["SpeechRequest", "bad", "checked_voice", "language", "speech_request"]

_RANGES: Final = {
    "stability": (0.0, 1.0),
    "similarity_boost": (0.0, 1.0),
    "style": (0.0, 1.0),
    "speed": (0.7, 1.2),
    "clone_strength": (0.0, 1.0),
}
_VOICE_SETTINGS: Final = (*_RANGES, "use_speaker_boost")
_OWN: Final = (
    "apply_text_normalization", "format", "language", "model", "next_request_ids", "pronunciation_dictionaries", "seed",
    *_VOICE_SETTINGS,
)  # fmt: skip
_FROM_THE_HOST: Final = frozenset(
    {"idle_s", "next_text", "previous_request_ids", "previous_text", "timeout_s"}
)
_NORMALIZATION: Final = ("auto", "on", "off")
_MOST_SEED: Final = 2**32 - 1
_MOST_LISTED: Final = 3
_VOICE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_DICTIONARY: Final = re.compile(r"[\w-]+(:[\w-]+)?", re.ASCII)
_LANGUAGE: Final = re.compile(r"([A-Za-z]{2,3})(?:[-_][A-Za-z0-9]+)*")


class SpeechRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent, less the text."""

    voice: str
    model: str
    format: Format
    body: Mapping[str, Any]
    """What goes into the request's body beside text and model, of what decides the audio."""
    around: Mapping[str, Any]
    """What is said before and after."""
    timeout_s: float | None
    idle_s: float | None

    @property
    def limits(self) -> Model:
        """What is known of the model."""
        return model_named(self.model)


def speech_request(
    options: ElevenLabsOptions, voice: str | None, settings: Mapping[str, Any]
) -> SpeechRequest:
    """Return what *settings* mean, completed from *options*.

    Raises:
        BadRequest: One is not known, or does not fit.
    """
    _check_names(settings)
    given = {name: value for name, value in settings.items() if value is not None}

    def chosen(name: str) -> Any:
        return given.get(name, getattr(options, name, None))

    voice_settings = _set({name: _setting(name, chosen(name)) for name in _VOICE_SETTINGS})
    body: dict[str, Any] = {
        "language_code": language(chosen("language")),
        "voice_settings": voice_settings or None,
        "seed": _seed(chosen("seed")),
        "pronunciation_dictionary_locators": _locators(chosen("pronunciation_dictionaries")),
        "apply_text_normalization": _normalization(given.get("apply_text_normalization")),
    }
    model = chosen("model")
    if not isinstance(model, str) or not model:
        raise bad(f"`model` cannot be {model!r}", expected="a model's id, such as eleven_v4")
    return SpeechRequest(
        voice=options.voice if voice is None else voice,
        model=model,
        format=format_named(chosen("format")),
        body=_set(body),
        around=_around(given, model),
        timeout_s=given.get("timeout_s"),
        idle_s=given.get("idle_s"),
    )


def check_text(text: str, request: SpeechRequest) -> None:
    """Raise what keeps *text* from being sent.

    Raises:
        VoiceError: There is nothing to say.
        BadRequest: It is no text that can be sent.
        TextTooLong: The model takes less.
    """
    if not isinstance(text, str) or not text.strip():
        raise VoiceError("there is nothing to say", code="LC904", expected="a text with at least one letter")
    most = request.limits.most_characters
    if len(text) > most:
        raise TextTooLong(
            f"the text has {len(text):,} characters, and {request.model} takes {most:,} in one request",
            expected=f"at most {most:,} characters",
            notes=("core.voice divides long texts by itself",),
        )
    lone = re.search(r"[\ud800-\udfff]", text)
    if lone is not None:
        raise bad(
            f"character {lone.start()} of the text is half of a surrogate pair, which cannot be sent",
            expected="text that UTF-8 can hold",
            fix='text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")',
        )


def checked_voice(voice_id: str) -> str:
    """Return *voice_id*, which will stand in an address.

    Raises:
        VoiceNotFound: No voice can be called so.
    """
    if not isinstance(voice_id, str) or not _VOICE_ID.fullmatch(voice_id):
        raise VoiceNotFound(
            f"elevenlabs has no voice {str(voice_id)[:80]!r}",
            expected="the id of a voice: letters, digits, - and _",
            fix="llmcore voices",
        )
    return voice_id


def bad(message: str, **more: Any) -> BadRequest:
    """Return the error for what is not sent at all."""
    return BadRequest(message, provider="elevenlabs", **more)


def check_filters(filters: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raise BadRequest for a filter that is none of *known*."""
    for name in filters:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise bad(
                f"elevenlabs cannot search voices by `{name}`",
                expected=", ".join(known),
                suggestion=near[0] if near else None,
            )


def _check_names(settings: Mapping[str, Any]) -> None:
    for name in settings:
        if name not in _OWN and name not in _FROM_THE_HOST:
            near = get_close_matches(name, _OWN, n=1)
            raise bad(
                f"elevenlabs knows no setting `{name}`",
                expected=", ".join(_OWN),
                suggestion=near[0] if near else None,
            )


def _set(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _setting(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name == "use_speaker_boost":
        return _held(name, value, lambda: isinstance(value, bool), "true or false")
    least, most = _RANGES[name]
    return _held(
        name,
        value,
        lambda: _is_number(value) and least <= value <= most,
        f"a number from {least:g} to {most:g}",
    )


def _seed(value: Any) -> Any:
    def holds() -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_SEED

    return None if value is None else _held("seed", value, holds, f"a whole number from 0 to {_MOST_SEED}")


def _normalization(value: Any) -> Any:
    if value is None:
        return None
    return _held(
        "apply_text_normalization", value, lambda: value in _NORMALIZATION, ", ".join(_NORMALIZATION)
    )


def language(value: Any) -> str | None:
    """Return the part of a BCP 47 tag that the vendor takes."""
    if value is None:
        return None
    match = _LANGUAGE.fullmatch(value) if isinstance(value, str) else None
    _held("language", value, lambda: match is not None, 'a tag such as "de" or "en-GB"')
    return match[1].lower() if match else None


def _locators(value: Any) -> list[dict[str, str]] | None:
    if value is None or value == []:
        return None
    names = [value] if isinstance(value, str) else value
    fits = (
        isinstance(names, list | tuple)
        and len(names) <= _MOST_LISTED
        and all(isinstance(name, str) and _DICTIONARY.fullmatch(name) for name in names)
    )
    _held(
        "pronunciation_dictionaries", value, lambda: fits, f'at most {_MOST_LISTED} of "ID" or "ID:VERSION"'
    )
    parts = [name.partition(":") for name in names]
    return [
        {"pronunciation_dictionary_id": name, **({"version_id": version} if version else {})}
        for name, _, version in parts
    ]


def _around(given: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Return the pieces beside this one, in the form that the model joins by.

    The vendor passes over the text where ids are given, and would still count it as sent. What is asked for after the
    whole text is joined to its last piece: the one after which no more of it is said.
    """
    before, after = _ids("previous_request_ids", given), _ids("next_request_ids", given)
    joins = model_named(model).stitching
    if after and joins != "ids":
        raise bad(
            f"{model} joins nothing by `next_request_ids`", expected="a model such as eleven_multilingual_v2"
        )
    if not joins:
        return {}
    around = {name: given[name] for name in ("previous_text", "next_text") if given.get(name)}
    if before and joins == "ids":
        around["previous_request_ids"] = before[-_MOST_LISTED:]
        around.pop("previous_text", None)
    if after and "next_text" not in around:
        around["next_request_ids"] = after
    return around


def _ids(name: str, given: Mapping[str, Any]) -> list[str]:
    ids = given.get(name)
    if ids is None:
        return []
    fits = isinstance(ids, list | tuple) and all(isinstance(each, str) and each for each in ids)
    most = _MOST_LISTED if name == "next_request_ids" else len(ids) if fits else 0
    _held(name, ids, lambda: fits and len(ids) <= most, f"a list of at most {_MOST_LISTED} ids of requests")
    return list(ids)


def _held(name: str, value: Any, holds: Callable[[], bool], expected: str) -> Any:
    if not holds():
        raise bad(f"`{name}` cannot be {value!r}", expected=expected)
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
