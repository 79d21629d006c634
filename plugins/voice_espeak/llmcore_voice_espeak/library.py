"""The library espeak-ng through ctypes, loaded anew for every speech.

What it spoke before leaves traces in it that no function of its clears: the same text would sound a little different
each time. Unloading does. That costs 3 ms, and speech becomes a function of its text.
"""

from __future__ import annotations

import _ctypes
import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import espeakng_loader

from llmcore.errors import VoiceError
from llmcore_voice_espeak.patience import Patience

__all__ = ["Library", "RawVoice", "Word", "loaded", "variants"]

_SYNCHRONOUS: Final = 2
_DO_NOT_EXIT: Final = 0x8000
_UTF8: Final = 1
_SSML: Final = 0x10
_END_PAUSE: Final = 0x1000
_RATE: Final = 1
_PITCH: Final = 3
_WORD: Final = 1
_WORDS_A_MINUTE: Final = 175
_LONGEST_PATH: Final = 150
"""Bytes; the library cuts what is longer than 160."""


class RawVoice(NamedTuple):
    """A voice as the library lists it."""

    file: str
    name: str
    languages: tuple[str, ...]
    gender: int
    age: int


class Word(NamedTuple):
    """When a word begins."""

    at: int
    """Its first character in the text, from 0."""
    begins_s: float


class _Voice(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.POINTER(ctypes.c_char)),
        ("file", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("unused", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


class _Event(ctypes.Structure):
    _fields_ = (
        ("kind", ctypes.c_int),
        ("message", ctypes.c_uint),
        ("position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_ms", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_Heard = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Event))

_lock = threading.Lock()


class Library:
    """The library between its loading and its unloading."""

    def __init__(self, handle: ctypes.CDLL) -> None:
        self._c = handle

    def voices(self) -> list[RawVoice]:
        """Return every voice, in the library's order."""
        self._c.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
        listed: Any = self._c.espeak_ListVoices(None)
        found: list[RawVoice] = []
        while listed[len(found)]:
            voice: Any = listed[len(found)].contents
            found.append(
                RawVoice(
                    voice.file.decode(),
                    voice.name.decode(),
                    tuple(_languages(voice.languages)),
                    voice.gender,
                    voice.age,
                )
            )
        return found

    def speak(
        self,
        text: str,
        voice: str,
        *,
        speed: float,
        pitch: int,
        ssml: bool,
        heard: Callable[[bytes], None],
    ) -> list[Word]:
        """Speak *text* and return when its words begin.

        Args:
            text: Without NUL.
            voice: A file of the library's, with a variant behind it.
            speed: 1.0 is normal.
            pitch: From 0 to 99.
            ssml: Whether *text* is SSML.
            heard: Is given samples, 16-bit in the machine's order, as they come, none among them; what it raises ends
                the speech and is raised.
        """
        words: list[Word] = []
        failed: list[BaseException] = []

        def callback(samples: int | None, count: int, events: Any) -> int:
            try:
                note(events)
                heard(ctypes.string_at(samples, 2 * count) if samples and count > 0 else b"")
            except BaseException as error:  # noqa: BLE001 - what is raised into C is lost
                failed.append(error)
            return 1 if failed else 0

        def note(events: Any) -> None:
            at = 0
            while events[at].kind:
                if events[at].kind == _WORD:
                    words.append(Word(max(0, events[at].position - 1), events[at].audio_ms / 1000))
                at += 1

        kept = _Heard(callback)  # as long as the library may call it
        self._c.espeak_SetSynthCallback(kept)
        if self._c.espeak_SetVoiceByName(voice.encode()):
            raise VoiceError(f"espeak-ng cannot load its voice {voice!r}")
        self._c.espeak_SetParameter(_RATE, round(_WORDS_A_MINUTE * speed), 0)
        self._c.espeak_SetParameter(_PITCH, pitch, 0)
        data = text.encode() + b"\0"
        flags = _UTF8 | _END_PAUSE | (_SSML if ssml else 0)
        synth = self._c.espeak_Synth
        synth.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint]
        synth.argtypes += [ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p]
        status = synth(data, len(data), 0, 0, 0, flags, None, None)
        if failed:
            raise failed.pop()
        if status:
            raise VoiceError(f"espeak-ng failed with status {status}")
        return words


@contextmanager
def loaded(patience: Patience) -> Iterator[Library]:
    """Load the library, which serves one caller at a time, and unload it afterwards."""
    lock = _lock
    patience.acquire(lock)
    try:
        handle = ctypes.CDLL(espeakng_loader.get_library_path())
        try:
            if handle.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(_data_path()), _DO_NOT_EXIT) <= 0:
                raise VoiceError("espeak-ng does not find its data", expected=f"it in {_data_path()}")
            try:
                yield Library(handle)
            finally:
                handle.espeak_Terminate()
        finally:
            _unload(handle._handle)  # noqa: SLF001 - ctypes has no other name for it
    finally:
        lock.release()


@cache
def variants() -> tuple[str, ...]:
    """Return the variants that every voice can be given, such as "f3"."""
    folder = Path(espeakng_loader.get_data_path()) / "voices" / "!v"
    return tuple(sorted(path.name for path in folder.iterdir()))


@cache
def _data_path() -> str:
    """Return where the library's data lies, by a path that is short enough for it."""
    path: str = espeakng_loader.get_data_path()
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        return path
    import atexit
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="llmcore-espeak-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    short = folder / "espeak-ng-data"
    short.symlink_to(path, target_is_directory=True)
    return str(short)


def _languages(pointer: Any) -> Iterator[str]:
    """Yield the names in a list of (priority, name, NUL), which a NUL ends."""
    at = 0
    while pointer[at] != b"\0":
        at += 1
        name = b""
        while pointer[at] != b"\0":
            name += pointer[at]
            at += 1
        at += 1
        yield name.decode()


def _unload(handle: int) -> None:
    unload: Callable[[int], object] = getattr(_ctypes, "dlclose", None) or getattr(_ctypes, "FreeLibrary")  # noqa: B009 - what the system has
    unload(handle)


def _in_child() -> None:
    global _lock  # the parent's may be held by a thread that is not here
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
