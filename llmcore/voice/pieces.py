"""Divide a text into pieces for one provider, and make the call of each piece."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import msgspec

from llmcore.calls.backend import Backend
from llmcore.calls.backend_call import call_backend
from llmcore.calls.options import make_identity
from llmcore.calls.steps import Act, Step
from llmcore.errors import BadRequest, PluginError, TextTooLong
from llmcore.support.ssml import find_ssml
from llmcore.types import VoiceTraits
from llmcore.voice.audio.concatenation import JOINABLE
from llmcore.voice.call import SpeechCall
from llmcore.voice.failures import complete_setting_error
from llmcore.voice.key import SpeechKeyMaker
from llmcore.voice.sentences import merge_to_limit, split_sentences, split_to_limit

__all__ = ["DividedText", "divide_text", "get_traits", "make_calls"]

_AROUND_CHARACTERS: Final = 300
"""A provider that stitches pieces together gets at most this many characters before each piece, and as many after it."""


class DividedText:
    """A divided text.

    The joined `parts` are the text; `texts` are the spoken parts, without surrounding white space and SSML prologue.
    """

    def __init__(self, parts: list[str], ssml: str | None = None) -> None:
        self.parts = parts
        self.texts = [part.strip() for part in parts] if ssml is None else [ssml]

    def __len__(self) -> int:
        return len(self.parts)

    def get_context(self, at: int) -> dict[str, Any]:
        """Return the text before and after the piece with the index *at*, as settings of the voice."""
        before = "".join(self.parts[max(0, at - 8) : at]).strip()[-_AROUND_CHARACTERS:]
        after = "".join(self.parts[at + 1 : at + 9]).strip()[:_AROUND_CHARACTERS]
        context = {"previous_text": before, "next_text": after}
        return {name: text for name, text in context.items() if text}


def get_traits(backend: Backend, voice: str | None, settings: Mapping[str, Any]) -> Act[VoiceTraits | None]:
    """Return the traits of the speech, without a request; None if the provider does not report traits."""
    voice_traits = getattr(backend.offline, "voice_traits", None)
    if voice_traits is None:
        return None
    try:
        traits = yield from call_backend(backend, Step(voice_traits, None, voice, settings), PluginError)
    except BadRequest as error:
        complete_setting_error(error, settings)
        raise
    if isinstance(traits, VoiceTraits):
        return traits
    raise PluginError(
        f"`voice_traits` of the voice provider `{backend.name}` returned a {type(traits).__name__}",
        expected="a llmcore.types.VoiceTraits",
        fix=f"llmcore plugins check {backend.name}",
    )


def divide_text(text: str, traits: VoiceTraits | None, *, by_sentence: bool) -> DividedText:
    """Divide *text* into pieces. The pieces can be requested separately, and their audio can be joined.

    Args:
        text: The text.
        traits: The traits of the speech. If they are None, the format is unknown and joining could fail, so the text
            stays one piece.
        by_sentence: True if each sentence is a piece, so that only changed sentences are paid for again.
            Otherwise pieces are as long as possible.

    Raises:
        TextTooLong: *text* exceeds the limit of one request and cannot be divided.
    """
    ssml = find_ssml(text)
    whole = DividedText([text], ssml)
    if traits is None:
        return whole
    limit = traits.max_characters
    if ssml is not None or traits.format not in JOINABLE:
        if limit is not None and len(whole.texts[0]) > limit:
            raise _make_too_long_error(whole.texts[0], traits, limit, ssml=ssml is not None)
        return whole
    parts = split_sentences(text)
    if limit is not None:
        parts = [piece for part in parts for piece in split_to_limit(part, limit)]
    return DividedText(_merge_blank(parts if by_sentence else merge_to_limit(parts, limit)))


def make_calls(pieces: DividedText, template: SpeechCall, namespace: str, *, cache: bool) -> list[SpeechCall]:
    """Return the call of each piece: a copy of *template* with the text, the key and the context of the piece."""
    traits, keys, timed = template.traits, None, None
    if cache:
        makes = partial(
            SpeechKeyMaker,
            provider=template.backend.name,
            namespace=namespace,
            voice=template.voice,
            settings=template.settings,
            traits=traits,
            identity=make_identity(template.backend.options) if traits is None else traits.identity,
        )
        keys = makes(timed=template.timed)
        timed = None if template.timed else makes(timed=True)
    stitches = traits is not None and traits.stitches
    return [
        msgspec.structs.replace(
            template,
            text=text,
            key=None if keys is None else keys.make_key(text),
            timed_key=None if timed is None else timed.make_key(text),
            context=pieces.get_context(at) if stitches else {},
        )
        for at, text in enumerate(pieces.texts)
    ]


def _merge_blank(parts: list[str]) -> list[str]:
    """Merge each blank part into the part before it. Merge a blank part at the start into the next part."""
    kept: list[str] = []
    for part in parts:
        if kept and not part.strip():
            kept[-1] += part
        else:
            kept.append(part)
    if len(kept) > 1 and not kept[0].strip():
        kept[:2] = [kept[0] + kept[1]]
    return kept


def _make_too_long_error(text: str, traits: VoiceTraits, limit: int, *, ssml: bool) -> TextTooLong:
    why = "SSML cannot be divided" if ssml else f"pieces of {traits.format} cannot be joined"
    return TextTooLong(
        f"the text has {len(text):,} characters, {traits.model or 'the model'} accepts {limit:,}, and {why}",
        expected=f"at most {limit:,} characters" if ssml else f"one of {', '.join(sorted(JOINABLE))}",
        fix=None if ssml else 'synthesize(..., format="mp3")',
    )
