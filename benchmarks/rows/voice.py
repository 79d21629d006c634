"""Speech: a hit of the audio cache, the cost of the client above its provider and the vendors' SDKs, and the first bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeAlias

from benchmarks.clients import TIMED
from benchmarks.environments import ROOT
from benchmarks.harness import Row, Side, Workshop

SAID = f"""
{TIMED}
import json
from itertools import cycle

TEXTS = ["Sentence %d falls on the roof of the hut, and everybody hears it." % n for n in range(32)]
text = cycle(TEXTS).__next__
"""

IN_PROCESS = f"""
{SAID}
import os
from llmcore_voice_espeak.data import get_data_path, get_library_path
from llmcore_voice_espeak.encoding import encode_audio
from llmcore_voice_espeak.library import load

class voice:
    def synthesize(each):
        samples = []
        with load(get_library_path(), os.fsencode(get_data_path())) as library:
            library.speak(
                each.encode(), b"gmw/en-US", 175, 50, ssml=False, take=lambda some, words: samples.append(some)
            )
        return encode_audio(b"".join(samples), "wav", int)

    def close():
        pass
"""

RAW = f"""
{SAID}
from llmcore_voice_espeak.provider import EspeakVoice

voice = EspeakVoice()
"""

HOST = f"""
{SAID}
import llmcore

core = llmcore.load({{"voice": json.loads(sys.argv[2]), "cache": json.loads(sys.argv[1])}})
voice = core.voice
"""

ELEVENLABS = f"""
{SAID}
from elevenlabs import ElevenLabs

client = ElevenLabs(api_key="sk_any", base_url=sys.argv[1])

class voice:
    def stream(each):
        return client.text_to_speech.stream(
            "JBFqnCBsd6RMkjVDRZzb", text=each, model_id="eleven_multilingual_v2", output_format="mp3_44100_128"
        )

    def synthesize(each):
        return b"".join(
            client.text_to_speech.convert(
                "JBFqnCBsd6RMkjVDRZzb", text=each, model_id="eleven_multilingual_v2", output_format="mp3_44100_128"
            )
        )
"""

OPENAI = f"""
{SAID}
from openai import OpenAI

client = OpenAI(api_key="sk_any", base_url=sys.argv[1] + "/v1")
given = {{"model": "tts-1", "voice": "alloy", "response_format": "mp3"}}

class voice:
    def stream(each):
        with client.audio.speech.with_streaming_response.create(input=each, **given) as answer:
            yield from answer.iter_bytes()

    def synthesize(each):
        return client.audio.speech.create(input=each, **given).content
"""

SPOKEN = """
for each in TEXTS:
    assert voice.synthesize(each)
timed("say(text())", %s, say=%s, text=text)
"""

WITH_WORKERS = """
import os

def cpu(count):
    for _ in range(count):
        assert say(text())
    close()  # a process that has ended is counted
    return sum(os.times()[:4])

say, close = %s, %s
start = cpu(20)
few = cpu(20)
print((cpu(220) - 2 * few + start) / 200 * 1e6)
"""
"""The CPU time of a sentence in this process and its workers, without the start of the workers."""

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


Settings: TypeAlias = Mapping[str, object]

ESPEAK: Settings = {"provider": "espeak"}
FILE: Settings = {"provider": "file", "ttl": "1h", "file": {"cache_dir": "cache"}}
UNCACHED = {
    "synthesize": "lambda each: voice.synthesize(each, cache=False)",
    "stream": "lambda each: voice.stream(each, cache=False)",
}


@contextmanager
def speaking() -> Iterator[str]:
    """Run the simulator in another process; yield its root address."""
    command = [sys.executable, "-m", "llmcore_testing.simulator", "--port", "0"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip().removesuffix("/v1")
        finally:
            server.terminate()


@contextmanager
def prepare(shop: Workshop) -> Iterator[Sequence[Row]]:
    """Compare with espeak-ng on this machine, where no network hides the differences, and with the vendors' SDKs over HTTP."""
    with speaking() as root:
        yield [*_alone(shop), *_over_http(shop, "elevenlabs", root), *_over_http(shop, "openai", root)]


def _make_side(shop: Workshop, name: str, code: str, *arguments: str) -> Side:
    return Side(name=name, environment=shop.host(), arguments=("-c", code, *arguments))


def _host(shop: Workshop, name: str, code: str, cache: Settings = FILE, voice: Settings = ESPEAK) -> Side:
    return _make_side(shop, name, HOST + code, json.dumps(cache), json.dumps(voice))


def _alone(shop: Workshop) -> Iterator[Row]:
    plugin, cached = WITH_WORKERS % ("voice.synthesize", "voice.close"), SPOKEN % (2000, "voice.synthesize")
    yield Row(
        title="a sentence of speech",
        unit="us of CPU",
        sides=[
            _make_side(shop, "espeak-ng in the caller's process", IN_PROCESS + plugin),
            replace(_make_side(shop, "the plugin, in a worker process", RAW + plugin), at_most=1.3),
            _host(shop, "llmcore, without the cache", WITH_WORKERS % (UNCACHED["synthesize"], "core.close")),
            _host(shop, "llmcore, memory tier before file", SPOKEN % (5000, "voice.synthesize")),
            _host(shop, "llmcore, file, no memory tier", cached, {**FILE, "memory": 0}),
        ],
    )
    kept = "for each in TEXTS: voice.synthesize(each)\n"
    yield Row(
        title="first bytes of a stream",
        unit="us of time",
        sides=[
            _make_side(shop, "the plugin, called as it is", RAW + FIRST % {"stream": "voice.stream_speech"}),
            _host(shop, "llmcore, without the cache", FIRST % {"stream": UNCACHED["stream"]}),
            _host(shop, "llmcore, from the cache", kept + FIRST % {"stream": "voice.stream"}),
        ],
    )


def _over_http(shop: Workshop, provider: str, root: str) -> Iterator[Row]:
    sdk, address = (OPENAI, root + "/v1") if provider == "openai" else (ELEVENLABS, root)
    fields = {"api_key": "sk_any", "base_url": address, "format": "mp3"}
    settings = {"provider": provider, provider: fields}
    for title, unit, ours, theirs in (
        (
            "a sentence over HTTP",
            "us of CPU",
            SPOKEN % (300, UNCACHED["synthesize"]),
            SPOKEN % (300, "voice.synthesize"),
        ),
        (
            "first bytes of a stream over HTTP",
            "us of time",
            FIRST % {"stream": UNCACHED["stream"]},
            FIRST % {"stream": "voice.stream"},
        ),
    ):
        yield Row(
            title=f"{title}, {provider}",
            unit=unit,
            sides=[
                Side(
                    name="the vendor's SDK",
                    environment=shop.sdk(provider),
                    arguments=("-c", sdk + theirs, root),
                ),
                _host(shop, "llmcore, without the cache", ours, voice=settings),
            ],
        )
