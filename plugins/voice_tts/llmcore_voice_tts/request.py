"""Check the settings of a call and make the parameters of a request."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

import msgspec

from llmcore.errors import BadRequest, TextTooLong, VoiceError, VoiceNotFound
from llmcore_voice_tts.formats import Format, get_format
from llmcore_voice_tts.models import Model, get_model
from llmcore_voice_tts.options import ElevenLabsOptions

__all__ = [
    "SpeechRequest",
    "check_filters",
    "check_language",
    "check_text",
    "check_voice",
    "make_bad_request",
    "make_speech_request",
]

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
_NORMALISATION: Final = ("auto", "on", "off")
_MOST_SEED: Final = 2**32 - 1
_MOST_LISTED: Final = 3
_VOICE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_DICTIONARY: Final = re.compile(r"[\w-]+(:[\w-]+)?", re.ASCII)
_LANGUAGE: Final = re.compile(r"([A-Za-z]{2,3})(?:[-_][A-Za-z0-9]+)*")


class SpeechRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request without its text."""

    voice: str
    model: str
    format: Format
    body: Mapping[str, Any]
    """The body fields that affect the audio, except text and model."""
    context: Mapping[str, Any]
    """The surrounding texts, or the ids of the requests before and after this one."""
    timeout_s: float | None
    idle_s: float | None

    @property
    def limits(self) -> Model:
        """The limits of the model."""
        return get_model(self.model)


def make_speech_request(
    options: ElevenLabsOptions, voice: str | None, settings: Mapping[str, Any]
) -> SpeechRequest:
    """Return the request for *settings*, completed from *options*.

    Raises:
        BadRequest: A setting is unknown or has a wrong value.
    """
    _check_names(settings)
    given = {name: value for name, value in settings.items() if value is not None}

    def choose(name: str) -> Any:
        return given.get(name, getattr(options, name, None))

    voice_settings = _drop_none({name: _check_setting(name, choose(name)) for name in _VOICE_SETTINGS})
    body: dict[str, Any] = {
        "language_code": check_language(choose("language")),
        "voice_settings": voice_settings or None,
        "seed": _check_seed(choose("seed")),
        "pronunciation_dictionary_locators": _make_locators(choose("pronunciation_dictionaries")),
        "apply_text_normalization": _check_normalisation(given.get("apply_text_normalization")),
    }
    model = choose("model")
    if not isinstance(model, str) or not model:
        raise make_bad_request(
            f"model must be the id of a model, got {model!r}", expected="such as eleven_v4"
        )
    return SpeechRequest(
        voice=options.voice if voice is None else voice,
        model=model,
        format=get_format(choose("format")),
        body=_drop_none(body),
        context=_make_context(given, model),
        timeout_s=given.get("timeout_s"),
        idle_s=given.get("idle_s"),
    )


def check_text(text: str, request: SpeechRequest) -> None:
    """Check *text*.

    Raises:
        VoiceError: The text is empty.
        BadRequest: The text contains a lone surrogate.
        TextTooLong: The text exceeds the limit of the model.
    """
    if not isinstance(text, str) or not text.strip():
        raise VoiceError("the text is empty", code="LC904", expected="a text with at least one letter")
    most = request.limits.most_characters
    if len(text) > most:
        raise TextTooLong(
            f"the text must have at most {most:,} characters in one request to {request.model}, got {len(text):,}",
            expected=f"at most {most:,} characters",
            notes=("core.voice divides long texts automatically",),
        )
    lone = re.search(r"[\ud800-\udfff]", text)
    if lone is not None:
        raise make_bad_request(
            f"the text contains a lone surrogate U+{ord(lone[0]):04X} at index {lone.start()}",
            expected="text that UTF-8 can encode",
            fix='text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")',
        )


def check_voice(voice_id: str) -> str:
    """Check *voice_id* and return it. The id becomes part of a URL.

    Raises:
        VoiceNotFound: The id has an invalid form.
    """
    if not isinstance(voice_id, str) or not _VOICE_ID.fullmatch(voice_id):
        raise VoiceNotFound(
            f"elevenlabs has no voice {str(voice_id)[:80]!r}",
            expected="the id of a voice: letters, digits, - and _",
            fix="llmcore voices",
        )
    return voice_id


def make_bad_request(message: str, **more: Any) -> BadRequest:
    """Return the error for an invalid request, which is not sent."""
    return BadRequest(message, provider="elevenlabs", **more)


def check_filters(filters: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raise BadRequest for a filter that is not in *known*."""
    for name in filters:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise make_bad_request(
                f"unknown filter `{name}` for voices of elevenlabs",
                expected=", ".join(known),
                suggestion=near[0] if near else None,
            )


def _check_names(settings: Mapping[str, Any]) -> None:
    for name in settings:
        if name not in _OWN and name not in _FROM_THE_HOST:
            near = get_close_matches(name, _OWN, n=1)
            raise make_bad_request(
                f"unknown setting `{name}` for voices of elevenlabs",
                expected=", ".join(_OWN),
                suggestion=near[0] if near else None,
            )


def _drop_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _check_setting(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name == "use_speaker_boost":
        return _check(name, value, lambda: isinstance(value, bool), "true or false")
    least, most = _RANGES[name]
    return _check(
        name,
        value,
        lambda: _is_number(value) and least <= value <= most,
        f"a number from {least:g} to {most:g}",
    )


def _check_seed(value: Any) -> Any:
    def is_valid() -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_SEED

    return (
        None if value is None else _check("seed", value, is_valid, f"a whole number from 0 to {_MOST_SEED}")
    )


def _check_normalisation(value: Any) -> Any:
    if value is None:
        return None
    return _check(
        "apply_text_normalization", value, lambda: value in _NORMALISATION, ", ".join(_NORMALISATION)
    )


def check_language(value: Any) -> str | None:
    """Return the language in a BCP 47 tag, without the region. The vendor accepts only the language."""
    if value is None:
        return None
    match = _LANGUAGE.fullmatch(value) if isinstance(value, str) else None
    _check("language", value, lambda: match is not None, 'a tag such as "de" or "en-GB"')
    return match[1].lower() if match else None


def _make_locators(value: Any) -> list[dict[str, str]] | None:
    if value is None or value == []:
        return None
    names = [value] if isinstance(value, str) else value
    fits = (
        isinstance(names, list | tuple)
        and len(names) <= _MOST_LISTED
        and all(isinstance(name, str) and _DICTIONARY.fullmatch(name) for name in names)
    )
    _check(
        "pronunciation_dictionaries", value, lambda: fits, f'at most {_MOST_LISTED} of "ID" or "ID:VERSION"'
    )
    parts = [name.partition(":") for name in names]
    return [
        {"pronunciation_dictionary_id": name, **({"version_id": version} if version else {})}
        for name, _, version in parts
    ]


def _make_context(given: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Return the context of a piece: the surrounding texts, or the ids of other requests, as the model requires.

    If the ids of earlier requests are sent, the text before the piece is not sent: the vendor would ignore it,
    but count its characters. `next_request_ids` are the ids of requests that follow the whole text, so they are
    sent only with the last piece, which has no `next_text`.
    """
    before, after = _check_ids("previous_request_ids", given), _check_ids("next_request_ids", given)
    joins = get_model(model).stitching
    if after and joins != "ids":
        raise make_bad_request(
            f"{model} does not support `next_request_ids`", expected="a model such as eleven_multilingual_v2"
        )
    if not joins:
        return {}
    context = {name: given[name] for name in ("previous_text", "next_text") if given.get(name)}
    if before and joins == "ids":
        context["previous_request_ids"] = before[-_MOST_LISTED:]
        context.pop("previous_text", None)
    if after and "next_text" not in context:
        context["next_request_ids"] = after
    return context


def _check_ids(name: str, given: Mapping[str, Any]) -> list[str]:
    ids = given.get(name)
    if ids is None:
        return []
    fits = isinstance(ids, list | tuple) and all(isinstance(each, str) and each for each in ids)
    most = _MOST_LISTED if name == "next_request_ids" else len(ids) if fits else 0
    _check(name, ids, lambda: fits and len(ids) <= most, f"a list of at most {_MOST_LISTED} ids of requests")
    return list(ids)


def _check(name: str, value: Any, is_valid: Callable[[], bool], expected: str) -> Any:
    if not is_valid():
        raise make_bad_request(f"{name} must be {expected}, got {value!r}", expected=expected)
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
