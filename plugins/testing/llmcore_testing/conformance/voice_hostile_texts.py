"""Tests of texts that could crash a voice, open files, or take endless time.

A child process speaks each text, so the test survives a crash of a C library.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Final

import pytest

from llmcore.errors import LLMCoreError
from llmcore_testing.conformance.abilities import Abilities
from llmcore_testing.conformance.caller import Caller
from llmcore_testing.conformance.voice_check import check

__all__ = ["HOSTILE_TEXTS", "HostileTexts"]

HOSTILE_TEXTS: Final = {
    "audio_file": '<speak><audio src="{path}"/></speak>',
    "audio_file_with_text": '<speak>Hello <audio src="{path}">there</audio>, world</speak>',
    "audio_url_of_a_file": "<speak><audio src='file://{path}'/>Hello</speak>",
    "long_audio_name": f'<speak><audio src="{"n" * 200}"/></speak>',
    "entity_of_a_file": '<!DOCTYPE speak [<!ENTITY e SYSTEM "file://{path}">]><speak>Hello &e;</speak>',
    "deep_markup": "<speak>" + "<p>" * 500 + "Hello" + "</p>" * 500 + "</speak>",
    "unclosed_markup": "<speak><prosody rate='" + "9" * 500,
    "control_characters": "Hello" + "".join(map(chr, [*range(1, 32), *range(127, 160)])) + "world",
    "nul": "Hello\0world",
    "digits": "Call " + "1234567890" * 4,
    "long_word": "Hello " + "x" * 3000,
    "combining_marks": "e" + "\u0301" * 1000,
    "directions": "\u202eHello\u2066 world\u200d\ufeff",
    "format_strings": "%s%n%d" * 50,
    "phonemes": "[[" * 50 + "a" * 200 + "]]",
}
"""`{path}` becomes the path of a pipe. If a process opens the pipe, it blocks, and the test detects this."""

_LOOK_S: Final = 0.005


class HostileTexts(Abilities):
    """The backend must speak any text, or raise an error of llmcore.errors, within `deadline_s`."""

    deadline_s: ClassVar[float]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
    @pytest.mark.parametrize("text", HOSTILE_TEXTS.values(), ids=HOSTILE_TEXTS)
    def test_a_hostile_text_is_spoken_or_rejected_without_harm(self, text: str, tmp_path: Path) -> None:
        pipe = tmp_path / "pipe.wav"
        os.mkfifo(pipe)
        ended, said = _run_in_child(
            lambda: self._speak_or_refuse(text.replace("{path}", str(pipe))), pipe, self.deadline_s
        )
        assert not said, said
        if os.WIFSIGNALED(ended):
            name = signal.Signals(os.WTERMSIG(ended)).name
            pytest.fail(f"the text ended the process with {name}: synthesize in a child process")
        assert ended == 0, f"the text ended the process with exit code {os.waitstatus_to_exitcode(ended)}"

    def _speak_or_refuse(self, text: str) -> str:
        """Speak *text*. Return a description of the problem, or ""."""
        caller: Caller = self.caller
        try:
            speech = caller.call("synthesize", text)
        except LLMCoreError:
            return ""
        except Exception as error:  # noqa: BLE001 - the test reports any other exception
            return f"{caller.get_name('synthesize')} must speak the text or raise an error of llmcore.errors, raised {error!r:.300}"
        try:
            check(speech)
        except BaseException as fault:  # noqa: BLE001 - pytest.fail raises a BaseException
            return str(fault) or repr(fault)
        return ""


def _run_in_child(work: Callable[[], str], pipe: Path, deadline_s: float) -> tuple[int, str]:
    """Run *work* in a forked child. Return the child's wait status and the problem that was found.

    The child is killed if it opens *pipe* or exceeds *deadline_s*.
    """
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # forking with threads is safe here: the child only calls one method
        child = os.fork()
    if child == 0:
        _report(work, writer)
    os.close(writer)
    said, ends = b"", time.monotonic() + deadline_s
    try:
        while True:
            if _is_read(pipe):
                return 0, "the text must not make the backend open a file"
            if time.monotonic() > ends:
                return 0, f"synthesize must return or raise within {deadline_s:g} s"
            if select.select([reader], [], [], _LOOK_S)[0]:
                piece = os.read(reader, 65536)
                if not piece:
                    break
                said += piece
        ended, child = os.waitpid(child, 0)[1], 0
    finally:
        os.close(reader)
        if child:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return ended, said.decode(errors="replace")


def _report(work: Callable[[], str], writer: int) -> None:
    """Write the result of *work* to *writer*. End the process without the parent's cleanup."""
    code = 1
    try:
        os.write(writer, work().encode(errors="replace"))
        code = 0
    finally:
        os._exit(code)


def _is_read(pipe: Path) -> bool:
    """Return whether a process is waiting to read from *pipe*."""
    try:
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
    except OSError as error:
        if error.errno == errno.ENXIO:
            return False
        raise
    return True
