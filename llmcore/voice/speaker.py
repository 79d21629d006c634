"""One provider, asked to speak one text: how it will be divided, and what the pieces come to."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import msgspec

from llmcore.calls.asking import asked
from llmcore.calls.backend import Backend
from llmcore.calls.steps import Act, Step
from llmcore.contracts.ssml import document
from llmcore.errors import PluginError, TextTooLong
from llmcore.llm.key import identity_of
from llmcore.types import VoiceTraits
from llmcore.voice.audio.joining import JOINABLE
from llmcore.voice.entry import KeyMaker
from llmcore.voice.exchange import PieceCall
from llmcore.voice.sentences import packed, sentences, within_limit

__all__ = ["Pieces", "calls_of", "divided", "traits_of"]

AROUND_CHARACTERS: Final = 300
"""So much of what is said before and after is told to a provider that stitches."""


class Pieces:
    """A text, divided: what is said in each piece, and what stands around it: space, or the prologue of SSML."""

    def __init__(self, parts: list[str], ssml: str | None = None) -> None:
        self.parts = parts
        self.said = [part.strip() for part in parts] if ssml is None else [ssml]

    def __len__(self) -> int:
        return len(self.parts)

    def around(self, at: int) -> dict[str, Any]:
        """Return what is said before and after the piece *at*."""
        before = "".join(self.parts[max(0, at - 8) : at]).strip()[-AROUND_CHARACTERS:]
        after = "".join(self.parts[at + 1 : at + 9]).strip()[:AROUND_CHARACTERS]
        told = {"previous_text": before, "next_text": after}
        return {name: text for name, text in told.items() if text}


def traits_of(backend: Backend, voice: str | None, settings: Mapping[str, Any]) -> Act[VoiceTraits | None]:
    """Return what the provider says beforehand; None where it tells nothing."""
    tell = getattr(backend.offline, "voice_traits", None)
    if tell is None:
        return None
    traits = yield from asked(backend, Step(tell, None, voice, settings), PluginError)
    if isinstance(traits, VoiceTraits):
        return traits
    raise PluginError(
        f"the voice provider `{backend.name}` told a {type(traits).__name__} of its traits",
        expected="a llmcore.types.VoiceTraits",
        fix=f"llmcore plugins check {backend.name}",
    )


def divided(text: str, traits: VoiceTraits | None, *, by_sentence: bool) -> Pieces:
    """Return *text* in pieces that can be asked for one by one, and whose audio can be joined.

    Args:
        text: What is to be said.
        traits: None keeps the text whole: nobody knows whether its audio could be joined.
        by_sentence: A piece a sentence, so that a changed one is paid for alone; else as long as the model takes.

    Raises:
        TextTooLong: It does not go into one request and cannot be divided.
    """
    ssml = document(text)
    whole = Pieces([text], ssml)
    if traits is None:
        return whole
    limit = traits.max_characters
    if ssml is not None or traits.format not in JOINABLE:
        if limit is not None and len(whole.said[0]) > limit:
            raise _undividable(whole.said[0], traits, limit, ssml=ssml is not None)
        return whole
    parts = sentences(text)
    if limit is not None:
        parts = [piece for part in parts for piece in within_limit(part, limit)]
    return Pieces(_spoken(parts if by_sentence else packed(parts, limit)))


def calls_of(pieces: Pieces, like: PieceCall, namespace: str, *, cache: bool) -> list[PieceCall]:
    """Return the call of each piece: as *like*, with its own text, key and surroundings."""
    traits, keys, timed = like.traits, None, None
    if cache:
        makes = partial(
            KeyMaker,
            provider=like.backend.name,
            namespace=namespace,
            voice=like.voice,
            settings=like.settings,
            traits=traits,
            identity=identity_of(like.backend.options) if traits is None else traits.identity,
        )
        keys = makes(timed=like.timed)
        timed = None if like.timed else makes(timed=True)
    stitches = traits is not None and traits.stitches
    return [
        msgspec.structs.replace(
            like,
            text=said,
            key=None if keys is None else keys.key(said),
            timed_key=None if timed is None else timed.key(said),
            around=pieces.around(at) if stitches else {},
        )
        for at, said in enumerate(pieces.said)
    ]


def _spoken(parts: list[str]) -> list[str]:
    """Return *parts* with those of nothing but space joined to the one before."""
    kept: list[str] = []
    for part in parts:
        if kept and not part.strip():
            kept[-1] += part
        else:
            kept.append(part)
    if len(kept) > 1 and not kept[0].strip():
        kept[:2] = [kept[0] + kept[1]]
    return kept


def _undividable(said: str, traits: VoiceTraits, limit: int, *, ssml: bool) -> TextTooLong:
    why = "SSML is spoken in one piece" if ssml else f"pieces of {traits.format} cannot be joined"
    return TextTooLong(
        f"the text has {len(said):,} characters, {traits.model or 'the model'} takes {limit:,}, and {why}",
        expected=f"at most {limit:,} characters" if ssml else f"one of {', '.join(sorted(JOINABLE))}",
        fix=None if ssml else 'synthesize(..., format="mp3")',
    )
