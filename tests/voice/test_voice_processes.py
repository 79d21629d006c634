"""Several processes that speak one text at the same time: one sends the request, the others use its cached audio."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

FIXTURE = Path(__file__).parents[1] / "fixtures" / "speaker"
COUNT = 4

PROGRAM = """
import os, sys, time
import llmcore, llmcore_speaker

COUNT = int(sys.argv[1])
plain = llmcore_speaker.Speaker.synthesize

def note(name, text):
    with open(name, "ab") as file:
        file.write(text.encode() + b"\\n")

def held(self, text, voice=None, **settings):
    note("asked", text)
    while len(open("ready", "rb").read().split()) < COUNT:  # until all of them want it
        time.sleep(0.01)
    return plain(self, text, voice, **settings)

llmcore_speaker.Speaker.synthesize = held
config = {"voice": {"provider": "speaker"}, "cache": {"provider": "file", "file": {"cache_dir": "cache"}}}
with llmcore.load(config) as core:
    note("ready", "yes")
    speech = core.voice.synthesize("It rains. It pours.")
print(speech.billed_characters, len(speech.audio))
"""


def test_one_process_asks_for_each_sentence_and_all_have_it(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(FIXTURE)}
    command = [sys.executable, "-c", PROGRAM, str(COUNT)]
    running = [
        subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True)
        for _ in range(COUNT)
    ]
    said = [process.communicate(timeout=60)[0].split() for process in running]
    assert [process.returncode for process in running] == [0] * COUNT
    assert sorted((tmp_path / "asked").read_text().splitlines()) == ["It pours.", "It rains."]
    billed = [int(words[0]) for words in said]
    assert sum(billed) == len("It rains.It pours.")
    assert len({words[1] for words in said}) == 1, json.dumps(said)
