"""Requests to a worker: the list of voices, and speech."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Final, NamedTuple

from llmcore.errors import TextTooLong, VoiceError
from llmcore.support.ssml import find_ssml
from llmcore_voice_espeak.data import get_data_path, get_library_path
from llmcore_voice_espeak.deadline import Deadline
from llmcore_voice_espeak.encoding import make_little_endian
from llmcore_voice_espeak.frames import AUDIO, LIST, SPEAK, VOICES, WORD, WORDS
from llmcore_voice_espeak.offline import RATE_HZ
from llmcore_voice_espeak.pool import get_shared_pool
from llmcore_voice_espeak.process import WorkerDied

__all__ = ["RawVoice", "Word", "read_voices", "speak"]

_WORDS_A_MINUTE: Final = 175
_LONGEST_H: Final = 4
_LONGEST: Final = _LONGEST_H * 3_600 * RATE_HZ * 2
"""Maximum bytes of speech. Without this limit, a short text with many long breaks could fill the memory."""


class RawVoice(NamedTuple):
    """A voice in the list of the library."""

    file: str
    name: str
    languages: tuple[str, ...]
    gender: int


class Word(NamedTuple):
    """The position and time of a word."""

    at: int
    """The index of the first character in the text, from 0."""
    begins_s: float


def read_voices(deadline: Deadline) -> list[RawVoice]:
    """Return all voices, in the order of the library.

    Raises:
        VoiceError: The library or the worker failed.
        Timeout, Cancelled: See `Deadline.check`.
    """
    voices: list[RawVoice] = []
    with closing(_read_frames((LIST, *_get_paths()), deadline)) as frames:
        for kind, payload in frames:
            if kind == VOICES:
                file, name, gender, *languages = payload.decode(errors="replace").split("\0")
                voices.append(RawVoice(file, name, tuple(languages), int(gender)))
    return voices


def speak(
    text: str, file: str, *, speed: float, pitch: int, take: Callable[[bytes], object], deadline: Deadline
) -> list[Word]:
    """Speak *text* with the voice *file*. Return the words of *text* with their times.

    *take* receives non-empty chunks of little-endian 16-bit samples.

    Raises:
        VoiceError: The library failed, or its process crashed.
        TextTooLong: The speech is longer than four hours.
        Timeout, Cancelled: See `Deadline.check`.
    """
    ssml = find_ssml(text)
    if ssml is not None:
        text = ssml.rjust(len(text.rstrip()))  # keep the positions of words
    rate = round(_WORDS_A_MINUTE * speed)
    fields: tuple[bytes, ...] = (
        SPEAK,
        *_get_paths(),
        file.encode(),
        b"%d" % rate,
        b"%d" % pitch,
        b"%d" % (ssml is not None),
    )
    words: list[Word] = []
    length = 0
    fields += (_replace_controls(text).encode(),)
    with closing(_read_frames(fields, deadline)) as frames:
        for kind, payload in frames:
            if kind == AUDIO:
                length += len(payload)
                if length > _LONGEST:
                    raise TextTooLong(
                        f"the speech must not be longer than {_LONGEST_H} hours",
                        expected="several shorter texts",
                    )
                take(make_little_endian(payload))
            elif kind == WORDS:
                words += [Word(max(0, at - 1), ms / 1000) for at, ms in WORD.iter_unpack(payload)]
    return words


def _get_paths() -> tuple[bytes, bytes]:
    return os.fsencode(get_library_path()), os.fsencode(get_data_path())


def _replace_controls(text: str) -> str:
    """Return *text* with spaces in place of control characters, which the library would treat as commands."""
    return "".join(letter if letter >= " " or letter in "\t\n\r" else " " for letter in text)


def _read_frames(fields: tuple[bytes, ...], deadline: Deadline) -> Generator[tuple[bytes, bytes]]:
    """Yield the reply of a worker. A worker that ended while it was idle is replaced.

    Raises:
        VoiceError: The worker crashed, or cannot be started.
    """
    how = ""
    replied = retry = True
    while retry:
        retry = replied = False
        try:
            with get_shared_pool().take_worker(deadline) as worker:
                reused = worker.used
                for frame in worker.request(fields, deadline):
                    replied = True
                    yield frame
        except WorkerDied as death:
            how = str(death)
            retry = reused and not replied
        else:
            return
    raise VoiceError(
        f"espeak-ng crashed with this text: its process {how}",
        expected="a text and a voice that espeak-ng can speak",
        fix="another voice, or a shorter text",
        notes=("the next call gets a new process",),
    )
