"""The provider's voices: list, search, clone and delete them. Shared by sync and async."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from llmcore.calls.attempts import RetryPolicy, with_retries
from llmcore.calls.backend import Backend
from llmcore.calls.backend_call import call_backend, with_timeout
from llmcore.calls.deadline import Deadline
from llmcore.calls.json_values import normalise
from llmcore.calls.steps import Act
from llmcore.calls.text_arguments import check_text, find_lone_surrogate
from llmcore.errors import BadRequest, PluginError, VoiceError
from llmcore.types import VoiceInfo, VoicePage
from llmcore.voice.recordings import Recording, read_recordings

__all__ = ["Voices"]

_MOST: Final = 1000


_CLONERS: Final = ("elevenlabs",)
"""The providers of this project that can clone voices."""
_CONSENT: Final = (
    'clone_voice(name, audio_files, consent="agreed in writing on 2026-01-31, see contracts/17")'
)


class Voices:
    """The voices of the configured provider."""

    def __init__(self, opener: Callable[[], Backend], policy: RetryPolicy) -> None:
        self._opener = opener
        self._policy = policy

    def call(self, method: str, *args: Any, **named: Any) -> Act[Any]:
        """Call an idempotent *method* of the provider, with retries under one deadline."""
        backend, deadline = self._opener(), Deadline(self._policy.deadline_s)

        def call_once() -> Act[Any]:
            left = max(deadline.get_time_left(), 0.001)
            return (yield from _call_once(backend, left, method, *args, **named))

        return (yield from with_retries(call_once, self._policy, deadline))

    def search(
        self, query: str | None, limit: int, after: str | None, filters: Mapping[str, Any]
    ) -> Act[VoicePage]:
        """Use the provider's search if there is one; otherwise search all voices that the provider lists."""
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise BadRequest(f"limit must be at least 1, got {limit!r}", code="LC308", expected="1 or more")
        for name, given in (("query", query), ("after", after)):
            if given is not None:
                check_text(given, name)
        named = {name: _check_filter(name, value) for name, value in filters.items() if value is not None}
        if self._opener().find_ability("search_voices") is not None:
            found: VoicePage = yield from self.call("search_voices", query, limit=limit, after=after, **named)
            return found
        listed = yield from self.call("list_voices")
        _check_names(named, listed)
        return _make_page([voice for voice in listed if _is_match(voice, query, named)], limit, after)

    def get_info(self, voice_id: str) -> Act[VoiceInfo]:
        """Return one voice."""
        found: VoiceInfo = yield from self.call("get_voice_info", check_text(voice_id, "voice_id"))
        return found

    def clone(
        self,
        name: str,
        audio_files: Sequence[Recording],
        consent: str,
        description: str | None,
        labels: Mapping[str, str] | None,
    ) -> Act[VoiceInfo]:
        """Clone a voice, without retries: a second attempt might create a second voice."""
        given = {"consent": consent, "description": description or "", "labels": labels}
        fault = _find_fault(name, consent) or _find_text_fault({"name": name, **given})
        if fault is not None:
            raise VoiceError(
                fault[0], code="LC906", expected=fault[1], fix=_CONSENT if "consent" in fault[0] else None
            )
        recordings = yield from read_recordings(audio_files)
        backend = self._opener()
        if backend.find_ability("clone_voice") is None:
            raise PluginError(
                f"the voice provider `{backend.name}` cannot clone voices",
                where=backend.locate(("voice", "provider"))[0],
                expected=f"a provider that clones voices: {', '.join(_CLONERS)}",
                fix=backend.format_set_line(("voice", "provider"), _CLONERS[0]),
            )
        info: VoiceInfo = yield from _call_once(
            backend, self._policy.deadline_s, "clone_voice", name, recordings, **given
        )
        return info

    def delete(self, voice_id: str) -> Act[bool]:
        """Delete a voice."""
        return bool((yield from self.call("delete_voice", check_text(voice_id, "voice_id"))))


def _call_once(backend: Backend, left: float, method: str, *args: Any, **named: Any) -> Act[Any]:
    """Call *method* once, for at most *left* seconds.

    A method with the parameter `timeout_s` receives the limit.
    """
    ability = backend.require(method)
    if ability.has_parameter("timeout_s"):
        named["timeout_s"] = left
    return (yield from call_backend(backend, with_timeout(backend, ability(*args, **named), left)))


def _find_fault(name: object, consent: object) -> tuple[str, str] | None:
    """Return the fault of the arguments and the expected value; None if the arguments are valid."""
    if not isinstance(consent, str) or not consent.strip():
        return (
            "consent must not be empty: a voice is not cloned without its speaker's consent",
            'consent="...": the agreement in words, or where it is kept',
        )
    if not isinstance(name, str) or not name.strip():
        return "the new voice has no name", "a text with at least one letter"
    return None


def _find_text_fault(texts: Mapping[str, object]) -> tuple[str, str] | None:
    """Return the fault of the texts of a new voice and the expected value; None if all texts are valid."""
    labels = texts["labels"]
    if labels is not None and not isinstance(labels, Mapping):
        return (
            f"the labels of the voice must be a dict, got {type(labels).__name__}",
            'texts by their names, such as {"accent": "Irish"}',
        )
    words = [(name, value) for name, value in texts.items() if name != "labels"]
    words += [("labels", each) for pair in (labels or {}).items() for each in pair]
    for name, value in words:
        if not isinstance(value, str):
            return f"the {name} of the voice must be text, got {type(value).__name__}", "texts"
        if find_lone_surrogate(value) is not None:
            return (
                f"the {name} of the voice contains a lone surrogate",
                "text that can be encoded as UTF-8",
            )
    return None


def _check_filter(name: str, value: object) -> object:
    """Return the value of a filter, or raise `BadRequest`."""
    for each in value if isinstance(value, list | tuple) else [value]:
        if not isinstance(each, str | bool | int | float):
            raise BadRequest(
                f"{name} must be text, a number or a bool, got {type(each).__name__}",
                code="LC308",
                expected="texts, numbers, true or false",
            )
    return normalise(value, name, "LC308")


def _check_names(filters: Mapping[str, Any], voices: Sequence[VoiceInfo]) -> None:
    """Raise `BadRequest` for the first filter that is neither `language` nor a label of one of *voices*."""
    known = sorted({"language"}.union(*(voice.labels for voice in voices)))
    for name in filters:
        if name not in known:
            from difflib import get_close_matches

            near = get_close_matches(name, known, n=1)
            raise BadRequest(
                f"these voices cannot be searched by `{name}`",
                code="LC302",
                expected=", ".join(known),
                suggestion=near[0] if near else None,
            )


def _make_page(voices: Sequence[VoiceInfo], limit: int, after: str | None) -> VoicePage:
    if after is not None and not (after.isdecimal() and int(after) <= len(voices)):
        raise BadRequest(
            f"after must be the `next` of a page, got {after!r}", expected="VoicePage.next of the page before"
        )
    begins = int(after or 0)
    ends = begins + min(limit, _MOST)
    return VoicePage(voices=tuple(voices[begins:ends]), next=str(ends) if ends < len(voices) else None)


def _is_match(voice: VoiceInfo, query: str | None, filters: Mapping[str, Any]) -> bool:
    """Return whether *voice* contains every word of *query* and matches all *filters*."""
    words = [
        voice.voice_id,
        voice.name,
        voice.language or "",
        voice.description or "",
        *voice.labels.values(),
    ]
    text = " ".join(words).casefold()
    if not all(word in text for word in (query or "").casefold().split()):
        return False
    known = {**voice.labels, "language": voice.language}
    return all(_is_equal(name, known.get(name), value) for name, value in filters.items())


def _is_equal(name: str, has: str | None, wanted: object) -> bool:
    has, asked_for = (has or "").casefold(), str(wanted).casefold()
    return has == asked_for or (name == "language" and has.startswith(asked_for + "-"))
