"""The C library espeak-ng through ctypes, for the worker process. Imports the standard library only.

The library is loaded for each speech and unloaded afterwards, in 3 ms. The library has state that no function resets:
without unloading, the same text would sound slightly different each time.
"""

from __future__ import annotations

import _ctypes
import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

__all__ = ["Library", "LibraryError", "load"]

_SYNCHRONOUS: Final = 2
_DO_NOT_EXIT: Final = 0x8000
_UTF8: Final = 1
_SSML: Final = 0x10
_END_PAUSE: Final = 0x1000
_RATE: Final = 1
_PITCH: Final = 3
_WORD: Final = 1


class LibraryError(Exception):
    """The library failed. The text of the error is a phrase that follows the word "espeak-ng"."""


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


_SynthCallback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Event))
_UriCallback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


@_UriCallback  # type: ignore[untyped-decorator]  # ctypes has no types for callbacks
def _refuse_uri(*_: object) -> int:
    """Return 1, which means "do not play". Without this callback, the library would open the files of <audio> elements."""
    return 1


class Library:
    """The loaded library."""

    def __init__(self, handle: ctypes.CDLL) -> None:
        self._c = handle

    def list_voices(self) -> Iterator[tuple[bytes, bytes, int, list[bytes]]]:
        """Yield file, name, gender and languages of every voice, in the library's order."""
        self._c.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
        voices: Any = self._c.espeak_ListVoices(None)
        at = 0
        while voices[at]:
            voice: Any = voices[at].contents
            yield voice.file, voice.name, voice.gender, list(_read_languages(voice.languages))
            at += 1

    def speak(
        self,
        text: bytes,
        voice: bytes,
        words_per_minute: int,
        pitch: int,
        *,
        ssml: bool,
        take: Callable[[bytes, list[tuple[int, int]]], None],
    ) -> None:
        """Speak *text*, UTF-8 without NUL, with the voice of the file *voice*.

        *take* gets 16-bit samples in native byte order, and the words that begin in these samples: the position
        of each word, and its time in ms. An exception that *take* raises ends the speech and is raised again.
        """
        failed: list[BaseException] = []

        def receive(samples: int | None, count: int, events: Any) -> int:
            try:
                words: list[tuple[int, int]] = []
                at = 0
                while events[at].kind:
                    if events[at].kind == _WORD:
                        words.append((events[at].position, events[at].audio_ms))
                    at += 1
                take(ctypes.string_at(samples, 2 * count) if samples and count > 0 else b"", words)
            except BaseException as error:  # noqa: BLE001 - C code would lose the exception
                failed.append(error)
            return 1 if failed else 0

        callback = _SynthCallback(receive)  # referenced as long as the library may call it
        self._c.espeak_SetSynthCallback(callback)
        self._c.espeak_SetUriCallback(_refuse_uri)
        if self._c.espeak_SetVoiceByName(voice):
            raise LibraryError(f"cannot load its voice {voice.decode(errors='replace')!r}")
        self._c.espeak_SetParameter(_RATE, words_per_minute, 0)
        self._c.espeak_SetParameter(_PITCH, pitch, 0)
        data = text + b"\0"
        flags = _UTF8 | _END_PAUSE | (_SSML if ssml else 0)
        synth = self._c.espeak_Synth
        synth.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint]
        synth.argtypes += [ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p]
        status = synth(data, len(data), 0, 0, 0, flags, None, None)
        if failed:
            raise failed.pop()
        if status:
            raise LibraryError(f"failed with status {status}")


@contextmanager
def load(path: str, data: bytes) -> Iterator[Library]:
    """Load the library at *path* with its folder *data*. Unload it at the end."""
    try:
        handle = ctypes.CDLL(path)
    except OSError as error:
        raise LibraryError(f"cannot be loaded: {error}") from None
    try:
        if handle.espeak_Initialize(_SYNCHRONOUS, 0, data, _DO_NOT_EXIT) <= 0:
            raise LibraryError(f"does not find its data in {data.decode(errors='replace')}")
        try:
            yield Library(handle)
        finally:
            handle.espeak_Terminate()
    finally:
        _unload(handle._handle)  # noqa: SLF001 - ctypes has no public name for it


def _read_languages(pointer: Any) -> Iterator[bytes]:
    """Yield the names in a NUL-terminated list of (priority, name, NUL)."""
    at = 0
    while pointer[at] != b"\0":
        at += 1
        name = b""
        while pointer[at] != b"\0":
            name += pointer[at]
            at += 1
        at += 1
        yield name


def _unload(handle: int) -> None:
    unload: Callable[[int], object] = getattr(_ctypes, "dlclose", None) or getattr(_ctypes, "FreeLibrary")  # noqa: B009 - the name depends on the system
    unload(handle)
