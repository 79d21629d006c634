"""The voices on offer: listed, searched, made from recordings and deleted, once for both colours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from llmcore.calls.asking import asked, within
from llmcore.calls.attempts import Deadline, RetryPolicy, attempts
from llmcore.calls.backend import Backend
from llmcore.calls.steps import Act
from llmcore.calls.texts import half, of_texts, text
from llmcore.errors import BadRequest, VoiceError
from llmcore.types import VoiceInfo, VoicePage

__all__ = ["Voices"]

_MOST: Final = 1000


class Voices:
    """What the configured provider tells of its voices."""

    def __init__(self, opener: Callable[[], Backend], policy: RetryPolicy) -> None:
        self._opener = opener
        self._policy = policy

    def told(self, method: str, *args: Any, **named: Any) -> Act[Any]:
        """Ask what may be asked twice, under the deadline of a call."""
        backend, deadline = self._opener(), Deadline(self._policy.deadline_s)

        def once() -> Act[Any]:
            return (yield from _asked(backend, max(deadline.left(), 0.001), method, *args, **named))

        return (yield from attempts(once, self._policy, deadline))

    def search(
        self, query: str | None, limit: int, after: str | None, filters: Mapping[str, Any]
    ) -> Act[VoicePage]:
        """Search where the provider can, else among all that it lists."""
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise BadRequest(f"limit={limit!r} is no number of voices", code="LC308", expected="1 or more")
        for name, given in (("query", query), ("after", after)):
            if given is not None:
                text(given, name)
        named = {name: _filter(name, value) for name, value in filters.items() if value is not None}
        if self._opener().ability("search_voices") is not None:
            found: VoicePage = yield from self.told("search_voices", query, limit=limit, after=after, **named)
            return found
        listed = yield from self.told("list_voices")
        _check_names(named, listed)
        return _page([voice for voice in listed if _fits(voice, query, named)], limit, after)

    def info(self, voice_id: str) -> Act[VoiceInfo]:
        """Return one voice."""
        found: VoiceInfo = yield from self.told("get_voice_info", text(voice_id, "voice_id"))
        return found

    def clone(
        self,
        name: str,
        samples: Sequence[bytes],
        consent: str,
        description: str | None,
        labels: Mapping[str, str] | None,
    ) -> Act[VoiceInfo]:
        """Make a voice, once: a second attempt might make a second one."""
        given = {"consent": consent, "description": description or "", "labels": labels}
        fault = _unfit(name, samples, consent) or _unsayable({"name": name, **given})
        if fault is not None:
            raise VoiceError(fault[0], code="LC906", expected=fault[1])
        backend = self._opener()
        info: VoiceInfo = yield from _asked(
            backend, self._policy.deadline_s, "clone_voice", name, list(samples), **given
        )
        return info

    def delete(self, voice_id: str) -> Act[bool]:
        """Delete a voice."""
        return bool((yield from self.told("delete_voice", text(voice_id, "voice_id"))))


def _asked(backend: Backend, left: float, method: str, *args: Any, **named: Any) -> Act[Any]:
    """Ask once, for at most *left* seconds: a blocking call ends by itself, where it takes the time that it has."""
    ability = backend.must(method)
    if ability.takes("timeout_s"):
        named["timeout_s"] = left
    return (yield from asked(backend, within(ability(*args, **named), left)))


def _unfit(name: object, samples: object, consent: object) -> tuple[str, str] | None:
    """Return what is wrong and what was expected; nothing of the recordings themselves is ever told."""
    if not isinstance(consent, str) or not consent.strip():
        return (
            "a voice is not cloned without its speaker's consent",
            'consent="...": the agreement in words, or where it is kept',
        )
    if not isinstance(name, str) or not name.strip():
        return "the voice to be made has no name", "a text with at least one letter"
    if isinstance(samples, bytes | str) or not isinstance(samples, Sequence):
        return (
            f"the samples are a {type(samples).__name__}",
            "a list of recordings, each a whole audio file as bytes",
        )
    if not samples:
        return "there is no recording to make a voice of", "at least one"
    for at, sample in enumerate(samples):
        if not isinstance(sample, bytes) or not sample:
            kind = "empty" if sample == b"" else f"a {type(sample).__name__}"
            return f"sample {at} is {kind}", "a whole audio file as bytes"
    return None


def _unsayable(told: Mapping[str, object]) -> tuple[str, str] | None:
    """Return what is wrong with what is told of a voice, and what was expected."""
    labels = told["labels"]
    if labels is not None and not isinstance(labels, Mapping):
        return (
            f"the labels are a {type(labels).__name__}",
            'texts by their names, such as {"accent": "Irish"}',
        )
    words = [(name, value) for name, value in told.items() if name != "labels"]
    words += [("labels", each) for pair in (labels or {}).items() for each in pair]
    for name, value in words:
        if not isinstance(value, str):
            return f"the {name} of the voice: a {type(value).__name__} is no text", "texts"
        if half(value) is not None:
            return (
                f"the {name} of the voice: half a character, which cannot be sent",
                "text that UTF-8 can hold",
            )
    return None


def _filter(name: str, value: object) -> object:
    """Return the value of a filter, or raise `BadRequest`."""
    for each in value if isinstance(value, list | tuple) else [value]:
        if not isinstance(each, str | bool | int | float):
            raise BadRequest(
                f"{name}= is a {type(each).__name__}, by which no voice can be searched",
                code="LC308",
                expected="texts, numbers, true or false",
            )
    of_texts(value, name)
    return value


def _check_names(filters: Mapping[str, Any], voices: Sequence[VoiceInfo]) -> None:
    """Raise `BadRequest` for a filter by which none of *voices* could ever be found."""
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


def _page(voices: Sequence[VoiceInfo], limit: int, after: str | None) -> VoicePage:
    if after is not None and not (after.isdecimal() and int(after) <= len(voices)):
        raise BadRequest(
            f"after={after!r} is not what a page gave", expected="VoicePage.next of the page before"
        )
    begins = int(after or 0)
    ends = begins + min(limit, _MOST)
    return VoicePage(voices=tuple(voices[begins:ends]), next=str(ends) if ends < len(voices) else None)


def _fits(voice: VoiceInfo, query: str | None, filters: Mapping[str, Any]) -> bool:
    """Return whether *voice* holds every word of *query*, and is what *filters* say."""
    told = [voice.voice_id, voice.name, voice.language or "", voice.description or "", *voice.labels.values()]
    text = " ".join(told).casefold()
    if not all(word in text for word in (query or "").casefold().split()):
        return False
    known = {**voice.labels, "language": voice.language}
    return all(_same(name, known.get(name), value) for name, value in filters.items())


def _same(name: str, has: str | None, wanted: object) -> bool:
    has, asked_for = (has or "").casefold(), str(wanted).casefold()
    return has == asked_for or (name == "language" and has.startswith(asked_for + "-"))
