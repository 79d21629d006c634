"""The voices by the ids that people write: "en-us", "de", "fr+f2"."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final, NamedTuple

from llmcore.errors import VoiceNotFound
from llmcore.types import VoiceInfo
from llmcore_voice_espeak.library import loaded, variants

__all__ = ["Found", "by_language", "find", "listed"]

_GENDERS: Final = {1: "male", 2: "female"}


class Found(NamedTuple):
    """A voice, and how the library is asked for it."""

    info: VoiceInfo
    file: str


@cache
def listed() -> Mapping[str, Found]:
    """Return every voice by its id, in a stable order."""
    with loaded() as library:
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


def find(voice_id: str) -> Found:
    """Return the voice *voice_id*, which may name a variant behind a plus.

    Raises:
        VoiceNotFound: There is none.
    """
    base, plus, variant = voice_id.partition("+")
    found = listed().get(base.casefold())
    if found is None or (plus and variant not in variants()):
        raise _missing(voice_id, base, variant, known=found is not None)
    if not plus:
        return found
    info = VoiceInfo(
        voice_id=f"{found.info.voice_id}+{variant}",
        name=f"{found.info.name}, {variant}",
        language=found.info.language,
    )
    return Found(info, f"{found.file}+{variant}")


def by_language(language: str) -> Found:
    """Return the voice that speaks *language*, or what is nearest to it: "en-AU" is spoken as English.

    Raises:
        VoiceNotFound: None does.
    """
    wanted = language.casefold()
    voices = listed()
    while wanted:
        if wanted in voices:
            return voices[wanted]
        for found in voices.values():
            if found.file.rpartition("/")[2].casefold() == wanted:
                return found
        wanted = wanted.rpartition("-")[0]
    raise _missing(language, language, "", known=False)


def _missing(voice_id: str, base: str, variant: str, *, known: bool) -> VoiceNotFound:
    from difflib import get_close_matches

    near = get_close_matches(variant if known else base.casefold(), variants() if known else listed(), n=1)
    suggestion = (f"{base}+{near[0]}" if known else near[0]) if near else None
    return VoiceNotFound(
        f"espeak has no voice {voice_id!r}",
        expected="an id that `llmcore voices` shows, with a variant such as +f3 if you like",
        suggestion=suggestion,
    )


def _as_bcp47(language: str) -> str:
    """Return "en-us" as "en-US"; what is longer or has another shape as it is."""
    head, dash, tail = language.partition("-")
    return f"{head}{dash}{tail.upper()}" if len(tail) == 2 else language  # noqa: PLR2004 - letters of a country
