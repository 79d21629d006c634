"""Check and normalise the arguments of a speech call before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple
from xml.parsers import expat

from llmcore.calls.arguments import CacheUse, check_cache_use
from llmcore.calls.json_values import normalise
from llmcore.calls.text_arguments import check_model, check_tags, check_text, check_user, find_lone_surrogate
from llmcore.errors import BadRequest, VoiceError
from llmcore.support.errors import raise_unchained
from llmcore.support.ssml import find_ssml

__all__ = ["SHARED_SETTINGS", "Ask", "check_arguments", "check_settings", "check_voice"]

_HOST_SETTINGS: Final = frozenset(
    {"idle_s", "next_text", "previous_request_ids", "previous_text", "timeout_s"}
)
"""Settings that only the host passes to a provider."""

SHARED_SETTINGS: Final = frozenset({"format", "language", "speed"})
"""Settings that mean the same to every provider. These settings apply to fallback providers too."""

_STRUCTURE: Final = frozenset({"p", "s", "speak"})
"""SSML elements that produce only the sound of their text."""


class Ask(NamedTuple):
    """The arguments of a speech call."""

    text: str
    voice: str | None
    model: str | None
    cache: CacheUse
    timeout: float | str | timedelta | None
    tags: str | Sequence[str]
    user: str | None
    progress: Callable[[int, int], object] | None
    settings: Mapping[str, Any]


def _check_speakable(text: object) -> str:
    """Return *text*, or raise an error if it cannot be spoken.

    Raises:
        VoiceError: *text* is empty, is not text, contains a lone surrogate, or is SSML that is not
            well-formed.
    """
    if not isinstance(text, str) or not text.lstrip("\ufeff").strip():
        raise _make_empty_error("a text with at least one letter")
    at = find_lone_surrogate(text)
    if at is not None:
        raise VoiceError(
            f"the text contains a lone surrogate U+{ord(text[at]):04X} at index {at}",
            code="LC905",
            expected="text that can be encoded as UTF-8",
            fix='text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")',
        )
    if find_ssml(text) is not None:
        _check_ssml(text)
    return str.__str__(text)


def check_arguments(ask: Ask) -> Ask:
    """Return the checked arguments; the settings are a copy that includes the model.

    Raises:
        VoiceError: The text cannot be spoken.
        BadRequest: Another argument is not valid.
    """
    if ask.progress is not None and not callable(ask.progress):
        raise BadRequest(
            f"progress must be a function, got {type(ask.progress).__name__}",
            code="LC308",
            expected="a function of two numbers: the finished characters, and all characters",
        )
    text = _check_speakable(ask.text)
    voice, settings = check_voice(ask.voice, ask.settings)
    return ask._replace(
        text=text,
        voice=voice,
        cache=check_cache_use(ask.cache),
        tags=check_tags(ask.tags),
        user=check_user(ask.user),
        settings=check_settings(settings, ask.model),
    )


def check_voice(voice: object, settings: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """Return the voice and the other settings. Existing code passes the voice as the setting `voice_id`.

    Raises:
        BadRequest: The voice is not text, or both names are used.
    """
    name = "voice"
    if "voice_id" in settings:
        if voice is not None:
            raise BadRequest(
                "voice and voice_id are two names of one argument, got both",
                code="LC308",
                expected="one of them",
                fix=f"voice={voice!r}",
            )
        name, voice = "voice_id", settings["voice_id"]
    others = {each: value for each, value in settings.items() if each != "voice_id"}
    return None if voice is None else check_text(voice, name), others


def check_settings(settings: Mapping[str, Any], model: str | None) -> dict[str, Any]:
    """Return a copy of *settings* and *model* as plain JSON values, without values that are None.

    Raises:
        BadRequest: A setting is reserved for the host, or is not JSON.
    """
    if model is not None:
        model = check_model(model)
    own = sorted(_HOST_SETTINGS & settings.keys())
    if own:
        raise BadRequest(
            f"`{own[0]}` is set by llmcore itself",
            code="LC302",
            expected="no idle_s, timeout_s, previous_text, next_text or previous_request_ids: llmcore sets these",
            fix="synthesize(..., timeout=seconds)" if own[0].endswith("_s") else None,
        )
    return {
        name: normalise(value, name, "LC308")
        for name, value in {**settings, "model": model}.items()
        if value is not None
    }


def _make_empty_error(expected: str) -> VoiceError:
    return VoiceError("there is nothing to say", code="LC904", expected=expected)


def _check_ssml(text: str) -> None:
    """Raise `VoiceError` for SSML that is not well-formed or would produce no sound."""
    # the text is already decoded, so ignore the encoding in the XML declaration
    parser = expat.ParserCreate("utf-8")
    heard: list[str] = []

    def refuse(*_: object) -> None:
        raise VoiceError("SSML must not have a DOCTYPE", code="LC905", expected="<speak>...</speak>")

    def check_element(name: str, _: object) -> None:
        if name not in _STRUCTURE:  # all other elements may produce sound: a pause, a recording, a substitute
            heard.append(name)

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = check_element
    parser.CharacterDataHandler = lambda said: heard.append(said.strip())
    try:
        parser.Parse(text.strip().lstrip("\ufeff").lstrip().encode(), True)  # noqa: FBT003 - expat accepts positional arguments only
    except expat.ExpatError as error:
        fault = f"{expat.ErrorString(error.code)}, at line {error.lineno}, column {error.offset + 1}"
        raise_unchained(
            VoiceError(
                f"the SSML is not well-formed: {fault}",
                code="LC905",
                expected="<speak>...</speak>, each tag closed; < and & in the text as &lt; and &amp;",
            )
        )
    if not any(heard):
        raise _make_empty_error("SSML with at least one letter")
