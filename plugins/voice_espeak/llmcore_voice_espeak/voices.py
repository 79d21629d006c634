"""The voices by the ids that people write: "en-us", "de", "fr+f2"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from llmcore.errors import VoiceNotFound
from llmcore.types import VoiceInfo
from llmcore_voice_espeak.library import loaded, variants
from llmcore_voice_espeak.patience import Patience

__all__ = ["Found", "by_language", "find", "listed"]

_GENDERS: Final = {1: "male", 2: "female"}


class Found(NamedTuple):
    """A voice, and how the library is asked for it."""

    info: VoiceInfo
    file: str


_kept: list[Mapping[str, Found]] = []


def listed(patience: Patience) -> Mapping[str, Found]:
    """Return every voice by its id, in a stable order; the library is asked once."""
    if not _kept:
        _kept.append(_listed(patience))
    return _kept[0]


def _listed(patience: Patience) -> Mapping[str, Found]:
    with loaded(patience) as library:
        raw = library.voices()
    found: dict[str, Found] = {}
    for voice in sorted(raw, key=lambda voice: voice.file.casefold()):
        own = voice.file.rpartition("/")[2].casefold()
        voice_id = voice.languages[0].casefold()
        if voice_id in found:
            voice_id = own
        labels = {"gender": _GENDERS[voice.gender]} if voice.gender in _GENDERS else {}
        info = VoiceInfo(
            voice_id=voice_id, name=voice.name, language=_as_bcp47(voice.languages[0]), labels=labels
        )
        found[voice_id] = Found(info, voice.file)
    return dict(sorted(found.items()))


def find(voice_id: str, patience: Patience) -> Found:
    """Return the voice *voice_id*, which may name a variant behind a plus.

    Raises:
        VoiceNotFound: There is none.
    """
    base, plus, variant = voice_id.partition("+")
    voices = listed(patience)
    found = voices.get(base.casefold())
    if found is None:
        raise _missing(voice_id, _nearest(base.casefold(), voices))
    if plus and variant not in variants():
        near = _nearest(variant, variants())
        raise _missing(voice_id, near and f"{base}+{near}")
    if not plus:
        return found
    info = VoiceInfo(
        voice_id=f"{found.info.voice_id}+{variant}",
        name=f"{found.info.name}, {variant}",
        language=found.info.language,
    )
    return Found(info, f"{found.file}+{variant}")


def by_language(language: str, patience: Patience) -> Found:
    """Return the voice that speaks *language*, or what is nearest to it: "en-AU" is spoken as English.

    Raises:
        VoiceNotFound: None does.
    """
    wanted = language.casefold()
    voices = listed(patience)
    while wanted:
        if wanted in voices:
            return voices[wanted]
        for found in voices.values():
            if found.file.rpartition("/")[2].casefold() == wanted:
                return found
        wanted = wanted.rpartition("-")[0]
    raise VoiceNotFound(
        f"espeak speaks no language {language!r}",
        expected='a code that `llmcore voices` shows, such as "de" or "en-GB"',
        suggestion=_nearest(language.casefold(), (voice.info.language or "" for voice in voices.values())),
    )


def _nearest(name: str, known: Iterable[str]) -> str | None:
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, known, n=1)), None)


def _missing(voice_id: str, suggestion: str | None) -> VoiceNotFound:
    return VoiceNotFound(
        f"espeak has no voice {voice_id!r}",
        expected="an id that `llmcore voices` shows, with a variant such as +f3 if you like",
        suggestion=suggestion,
    )


def _as_bcp47(language: str) -> str:
    """Return "en-us" as "en-US"; what is longer or has another shape as it is."""
    head, dash, tail = language.partition("-")
    return f"{head}{dash}{tail.upper()}" if len(tail) == 2 else language  # noqa: PLR2004 - letters of a country
