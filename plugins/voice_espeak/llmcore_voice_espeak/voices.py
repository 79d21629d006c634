"""Find voices by id, such as "en-us", "de" or "fr+f2", or by language."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from llmcore.errors import VoiceNotFound
from llmcore.types import VoiceInfo
from llmcore_voice_espeak.data import list_variants
from llmcore_voice_espeak.deadline import Deadline
from llmcore_voice_espeak.synthesis import RawVoice, read_voices

__all__ = ["KnownVoice", "find", "find_by_language", "load_voices"]

_GENDERS: Final = {1: "male", 2: "female"}


class KnownVoice(NamedTuple):
    """A voice and its name in the library."""

    info: VoiceInfo
    file: str


_kept: list[Mapping[str, KnownVoice]] = []


def load_voices(deadline: Deadline) -> Mapping[str, KnownVoice]:
    """Return all voices by id, in a stable order. The first call loads them."""
    if not _kept:
        _kept.append(_read_all(deadline))
    return _kept[0]


def _read_all(deadline: Deadline) -> Mapping[str, KnownVoice]:
    raw: list[RawVoice] = read_voices(deadline)
    found: dict[str, KnownVoice] = {}
    for voice in sorted(raw, key=lambda voice: voice.file.casefold()):
        own = voice.file.rpartition("/")[2].casefold()
        voice_id = voice.languages[0].casefold()
        if voice_id in found:
            voice_id = own
        labels = {"gender": _GENDERS[voice.gender]} if voice.gender in _GENDERS else {}
        info = VoiceInfo(
            voice_id=voice_id, name=voice.name, language=_format_bcp47(voice.languages[0]), labels=labels
        )
        found[voice_id] = KnownVoice(info, voice.file)
    return dict(sorted(found.items()))


def find(voice_id: str, deadline: Deadline) -> KnownVoice:
    """Return the voice *voice_id*, optionally with a variant after a plus.

    Raises:
        VoiceNotFound: The voice or the variant is unknown.
    """
    base, plus, variant = voice_id.partition("+")
    voices = load_voices(deadline)
    found = voices.get(base.casefold())
    if found is None:
        raise _make_not_found(voice_id, _find_nearest(base.casefold(), voices))
    if plus and variant not in list_variants():
        near = _find_nearest(variant, list_variants())
        raise _make_not_found(voice_id, near and f"{base}+{near}")
    if not plus:
        return found
    info = VoiceInfo(
        voice_id=f"{found.info.voice_id}+{variant}",
        name=f"{found.info.name}, {variant}",
        language=found.info.language,
    )
    return KnownVoice(info, f"{found.file}+{variant}")


def find_by_language(language: str, deadline: Deadline) -> KnownVoice:
    """Return the voice for *language*, or for the closest language, such as English for "en-AU".

    Raises:
        VoiceNotFound: No voice speaks the language.
    """
    wanted = language.casefold()
    voices = load_voices(deadline)
    while wanted:
        if wanted in voices:
            return voices[wanted]
        for found in voices.values():
            if found.file.rpartition("/")[2].casefold() == wanted:
                return found
        wanted = wanted.rpartition("-")[0]
    raise VoiceNotFound(
        f"unknown language {language!r} for espeak",
        expected='a language of `llmcore voices`, such as "de" or "en-GB"',
        suggestion=_find_nearest(
            language.casefold(), (voice.info.language or "" for voice in voices.values())
        ),
    )


def _find_nearest(name: str, known: Iterable[str]) -> str | None:
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, known, n=1)), None)


def _make_not_found(voice_id: str, suggestion: str | None) -> VoiceNotFound:
    return VoiceNotFound(
        f"espeak has no voice {voice_id!r}",
        expected="an id of `llmcore voices`, optionally with a variant such as +f3",
        suggestion=suggestion,
        fix=f'synthesize(..., voice="{suggestion or "en-us"}")',
    )


def _format_bcp47(language: str) -> str:
    """Return a tag such as "en-us" with an upper-case region, as in "en-US"; return other tags unchanged."""
    head, dash, tail = language.partition("-")
    return f"{head}{dash}{tail.upper()}" if len(tail) == 2 else language  # noqa: PLR2004 - such as US
