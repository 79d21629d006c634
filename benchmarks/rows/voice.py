"""Speech: a hit of the audio cache, what the client adds to its provider, and the first bytes of a stream."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from benchmarks.clients import TIMED
from benchmarks.harness import Row, Side, Workshop

SAID = f"""
{TIMED}
import json
from itertools import cycle

TEXTS = ["Sentence %d falls on the roof of the house, and everybody hears it." % n for n in range(32)]
text = cycle(TEXTS).__next__
"""

RAW = f"""
{SAID}
from llmcore_voice_espeak.provider import EspeakVoice

voice = EspeakVoice()
"""

HOST = f"""
{SAID}
import llmcore

core = llmcore.load({{"voice": {{"provider": "espeak"}}, "cache": json.loads(sys.argv[1])}})
voice = core.voice
"""

SPOKEN = """
for each in TEXTS:
    assert voice.synthesize(each).audio
timed("say(text())", %s, say=%s, text=text)
"""

FIRST = """
import time
from statistics import median

def first(stream):
    began = time.perf_counter()
    pieces, there = stream(text()), 0
    while there < 64:  # a head alone is not heard
        there += len(next(pieces))
    took = time.perf_counter() - began
    pieces.close()
    return took * 1e6

for _ in range(20):
    first(%(stream)s)
print(median(first(%(stream)s) for _ in range(200)))
"""


@contextmanager
def prepare(shop: Workshop) -> Iterator[Sequence[Row]]:
    """Compare with the provider alone, which speaks in this process: whatever is slower would hide the difference."""
    file = {"provider": "file", "ttl": "1h", "file": {"cache_dir": "cache"}}

    def raw(name: str, code: str) -> Side:
        return Side(name=name, environment=shop.host(), arguments=("-c", RAW + code))

    def host(name: str, code: str, cache: Mapping[str, object]) -> Side:
        return Side(name=name, environment=shop.host(), arguments=("-c", HOST + code, json.dumps(cache)))

    uncached = "lambda each: voice.synthesize(each, cache=False)"
    yield [
        Row(
            title="a sentence of speech",
            unit="us of CPU",
            sides=[
                raw("espeak, called as it is", SPOKEN % (100, "voice.synthesize")),
                host("llmcore, without the cache", SPOKEN % (100, uncached), file),
                host("llmcore, memory tier before file", SPOKEN % (5000, "voice.synthesize"), file),
                host(
                    "llmcore, file, no memory tier",
                    SPOKEN % (2000, "voice.synthesize"),
                    {**file, "memory": 0},
                ),
            ],
        ),
        Row(
            title="first bytes of a stream",
            unit="us of time",
            sides=[
                raw("espeak, called as it is", FIRST % {"stream": "voice.stream_speech"}),
                host(
                    "llmcore, without the cache",
                    FIRST % {"stream": "lambda each: voice.stream(each, cache=False)"},
                    file,
                ),
                host(
                    "llmcore, from the cache",
                    "for each in TEXTS: voice.synthesize(each)\n" + FIRST % {"stream": "voice.stream"},
                    file,
                ),
            ],
        ),
    ]
