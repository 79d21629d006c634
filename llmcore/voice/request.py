"""From what an application writes to what may be spoken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple
from xml.parsers import expat

from llmcore.calls.texts import half, labelled, of_texts, who
from llmcore.calls.texts import text as text_of
from llmcore.contracts.ssml import document
from llmcore.errors import BadRequest, VoiceError
from llmcore.llm.request import CacheUse, cache_use, frozen

__all__ = ["HOST_SETTINGS", "SHARED_SETTINGS", "Ask", "checked", "checked_settings"]

HOST_SETTINGS: Final = frozenset(
    {"idle_s", "next_text", "previous_request_ids", "previous_text", "timeout_s"}
)
"""What the host itself tells a provider."""

SHARED_SETTINGS: Final = frozenset({"format", "language", "speed"})
"""What means the same to every provider, so that the next one of a fallback is given it too."""

_STRUCTURE: Final = frozenset({"p", "s", "speak"})
"""Elements of SSML in which nothing is heard but their text."""


class Ask(NamedTuple):
    """What the caller wrote."""

    text: str
    voice: str | None
    model: str | None
    cache: CacheUse
    timeout: float | str | timedelta | None
    tags: str | Sequence[str]
    user: str | None
    progress: Callable[[int, int], object] | None
    settings: dict[str, Any]


def _said(text: object) -> str:
    """Return *text*, or raise: nothing is sent of what cannot be said.

    Raises:
        VoiceError: It is empty, no text, holds half a character, or is SSML that is not well-formed.
    """
    if not isinstance(text, str) or not text.lstrip("\ufeff").strip():
        raise _nothing("a text with at least one letter")
    at = half(text)
    if at is not None:
        raise VoiceError(
            f"the text holds half a character: a lone surrogate U+{ord(text[at]):04X} at position {at}",
            code="LC905",
            expected="text that can be encoded as UTF-8",
            fix='text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")',
        )
    if document(text) is not None:
        _well_formed(text)
    return text


def checked(ask: Ask) -> Ask:
    """Return what the caller wrote, checked; its settings are a copy, with the model among them.

    Raises:
        VoiceError: The text cannot be said.
        BadRequest: Anything else does not fit.
    """
    if ask.progress is not None and not callable(ask.progress):
        raise BadRequest(
            f"progress= is a {type(ask.progress).__name__}, which cannot be called",
            code="LC308",
            expected="a function of two numbers: the characters that are done, and all of them",
        )
    return ask._replace(
        text=_said(ask.text),
        voice=None if ask.voice is None else text_of(ask.voice, "voice"),
        cache=cache_use(ask.cache),
        tags=labelled(ask.tags),
        user=who(ask.user),
        settings=frozen(checked_settings(ask.settings, ask.model)),
    )


def checked_settings(settings: Mapping[str, Any], model: str | None) -> dict[str, Any]:
    """Return *settings* with *model* among them, less what is None.

    Raises:
        BadRequest: One of them is the host's own, or holds half a character.
    """
    for name, value in settings.items():
        of_texts(value, name)
    if model is not None:
        text_of(model, "model")
    own = sorted(HOST_SETTINGS & settings.keys())
    if own:
        raise BadRequest(
            f"`{own[0]}` is not for an application to set",
            code="LC302",
            expected="llmcore to tell the provider of deadlines, and of what is said before and after",
            fix="synthesize(..., timeout=seconds)" if own[0].endswith("_s") else None,
        )
    return {name: value for name, value in {**settings, "model": model}.items() if value is not None}


def _nothing(expected: str) -> VoiceError:
    return VoiceError("there is nothing to say", code="LC904", expected=expected)


def _well_formed(text: str) -> None:
    """Raise for SSML that is none, and for a document of which nothing would be heard."""
    parser = expat.ParserCreate("utf-8")  # whatever encoding it had where it came from
    heard: list[str] = []

    def refuse(*_: object) -> None:
        raise VoiceError("SSML with a DOCTYPE is not spoken", code="LC905", expected="<speak>...</speak>")

    def element(name: str, _: object) -> None:
        if name not in _STRUCTURE:  # a pause, a recording, a substitute
            heard.append(name)

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = element
    parser.CharacterDataHandler = lambda said: heard.append(said.strip())
    fault = ""
    try:
        parser.Parse(text.strip().lstrip("\ufeff").lstrip().encode(), True)  # noqa: FBT003 - expat takes it by position
    except expat.ExpatError as error:
        fault = f"{expat.ErrorString(error.code)}, at line {error.lineno}, column {error.offset + 1}"
    if fault:
        raise VoiceError(
            f"the SSML is not well-formed: {fault}",
            code="LC905",
            expected="<speak>...</speak>, each tag closed; < and & in the text as &lt; and &amp;",
        )
    if not any(heard):
        raise _nothing("SSML with at least one letter")
