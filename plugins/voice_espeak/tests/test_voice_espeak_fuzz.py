"""Random texts: each is spoken or refused in our words, and this process lives on.

`LLMCORE_FUZZ` is the number of texts for every voice; without it, a fifth of the voices speak one text each.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator

import pytest

from llmcore.errors import Timeout, VoiceError
from llmcore_voice_espeak.provider import EspeakVoice

ASKED = os.environ.get("LLMCORE_FUZZ")
TEXTS = int(ASKED or "1")
LONGEST_S = 20.0
SCRIPTS = (
    (0x20, 0x7E), (0x00, 0x1F), (0xA0, 0x24F), (0x370, 0x5FF), (0x600, 0x6FF), (0x900, 0xDFF), (0xE00, 0xFFF),
    (0x10A0, 0x11FF), (0x2000, 0x27FF), (0x3040, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xE000, 0xF8FF),
    (0xFE00, 0xFFFF), (0x1F300, 0x1FAFF), (0xE0000, 0xE007F), (0x10FFF0, 0x10FFFF),
)  # fmt: skip
FRAGMENTS = (
    "&lt;", "&#x41;", "&amp;", "&apos;", "<break time='1s'/>", "<break strength='x-strong'/>", "<mark name='m'/>",
    "<p>a</p>", "<p xml:lang='de'/>", "<s xml:lang='fr'>un</s>", "<voice name='de' gender='female'>zwei</voice>",
    "<voice name='en+f3'>b</voice>", "<prosody rate='+50%' pitch='-3st' volume='x-loud'>c</prosody>",
    "<say-as interpret-as='tts:digits' detail='3'>123456</say-as>", "<say-as interpret-as='characters'>a-b</say-as>",
    "<say-as interpret-as='tts:key'>F1</say-as>", "<sub alias='d'>e</sub>", "<emphasis level='strong'>f</emphasis>",
    "<phoneme alphabet='espeak' ph=\"h@l'oU\">g</phoneme>", "<tts:style field='punctuation' mode='all'>,;.</tts:style>",
    "<!-- h > i -->", "<![CDATA[ j < k ]]>", "<audio src='/etc/passwd'>l</audio>", "<img src='/dev/zero'/>", "<speak>m</speak>",
    "<unknown n=\"> '\">o</unknown>", "<?pi <voice?>",
)  # fmt: skip


def make_random_text(source: random.Random) -> str:
    """Return digits, letters of one script or of all, a very long word, or SSML."""
    kind = source.randrange(6)
    size = source.choice((1, 5, 40, 400))
    if kind == 0:
        return "".join(source.choices("0123456789 .,:-+%", (6,) * 10 + (1,) * 7, k=size))
    if kind == 1:
        return "".join(draw_letters(source, *source.choice(SCRIPTS), size))
    if kind == 2:
        return "".join(next(draw_letters(source, *source.choice(SCRIPTS), 1)) for _ in range(size))
    if kind == 3:
        return source.choice(("a", "ab1", "[[h@'loU", "\ud800", "word ", ".,;", "\0x", "ы")) * size
    inside = "".join(source.choices(FRAGMENTS, k=min(size, 60)))
    return f"<speak xmlns:tts='t'>{inside} {source.randrange(10**12)}</speak>"


def draw_letters(source: random.Random, first: int, last: int, size: int) -> Iterator[str]:
    return (chr(source.randint(first, last)) for _ in range(size))


@pytest.mark.timeout(0)
def test_no_text_harms_this_process() -> None:
    voice = EspeakVoice()
    ids = [info.voice_id for info in voice.list_voices()][:: 1 if ASKED else 5]
    source = random.Random(1)  # noqa: S311
    outcomes: Counter[str] = Counter()
    for number in range(TEXTS):
        for voice_id in ids:
            text = make_random_text(source)
            settings = {"speed": source.choice((0.5, 1.0, 2.5)), "pitch": source.randrange(100)}
            try:
                speech = voice.synthesize(text, voice_id, timeout_s=LONGEST_S, format="pcm", **settings)
            except (VoiceError, Timeout) as error:
                assert error.__context__ is None  # noqa: PT017 - most texts raise nothing
                outcomes[error.message[:90]] += 1
                if "crashed" in error.message or isinstance(error, Timeout):
                    print(f"{voice_id} {number}: {error.message}: {text[:200]!r}")  # noqa: T201 - for -s
                    assert voice.synthesize("Hello.", "en-us").audio
            else:
                outcomes["spoken"] += 1
                assert speech.audio
    print(outcomes)  # noqa: T201 - for -s
    assert outcomes["spoken"] > len(ids) * TEXTS // 3
