"""One worker process and its pipes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from llmcore.errors import VoiceError
from llmcore_voice_espeak.deadline import Deadline
from llmcore_voice_espeak.frames import DONE, FAILED, FRAME_HEAD, MAX_FRAME, REQUEST_HEAD
from llmcore_voice_espeak.readiness import wait_readable, wait_writable

if TYPE_CHECKING:
    import subprocess

__all__ = ["Worker", "WorkerDied"]

_CODE: Final = "import sys; sys.path.append({!a}); from llmcore_voice_espeak.worker import main; main()"
_KEPT: Final = frozenset({"LANG", "PATH", "PYTHONHOME", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR"})
_KEPT_PREFIXES: Final = ("DYLD_", "LC_", "LD_")
_READ: Final = 65_536
_CHUNK: Final = 1 << 20


class WorkerDied(Exception):
    """The worker ended before its reply was complete. The text is a phrase such as "was ended by SIGSEGV"."""


class Worker:
    """A process that speaks one text at a time.

    Raises:
        VoiceError: The process cannot be started.
    """

    def __init__(self) -> None:
        self.used = False
        """True if the worker has answered a request."""
        self.idle_since = 0.0
        self._buffer = bytearray()
        self._process, self._stdin, self._stdout = _start()

    def is_running(self) -> bool:
        """Return whether the process has not ended."""
        return self._process.poll() is None

    def request(self, fields: tuple[bytes, ...], deadline: Deadline) -> Iterator[tuple[bytes, bytes]]:
        """Send *fields*; yield kind and payload of each frame of the reply except the last one.

        A caller that closes the generator early must end the worker, because it would still send the rest of its reply.

        Raises:
            WorkerDied: The process ended before its reply.
            VoiceError: The library failed.
            Timeout, Cancelled: See `Deadline.check`; the process continues.
        """
        text = b"\0".join(fields)
        self._send(REQUEST_HEAD.pack(len(text)) + text, deadline)
        while True:
            kind, payload = self._receive(deadline)
            if kind == DONE:
                self.used = True
                return
            if kind == FAILED:
                self.used = True
                raise VoiceError(f"espeak-ng {payload.decode(errors='replace')}")
            yield kind, payload

    def _send(self, data: bytes, deadline: Deadline) -> None:
        rest = memoryview(data)
        while rest:
            left = deadline.check()
            try:
                rest = rest[os.write(self._stdin, rest[:_CHUNK]) :]
            except BlockingIOError:
                wait_writable(self._stdin, left)
            except OSError:  # the pipe is broken
                break
        if rest:
            raise self._make_died(deadline)

    def _receive(self, deadline: Deadline) -> tuple[bytes, bytes]:
        """Return the next frame. The deadline is checked once for each frame, and after a wait that timed out."""
        left = deadline.check()
        kind, size = b"", FRAME_HEAD.size
        while True:
            while len(self._buffer) < size:
                if not wait_readable(self._stdout, left):
                    left = deadline.check()
                    continue
                data = os.read(self._stdout, _READ)
                if not data:
                    raise self._make_died(deadline)
                self._buffer += data
            taken = bytes(self._buffer[:size])
            del self._buffer[:size]
            if kind:
                return kind, taken
            kind, size = FRAME_HEAD.unpack(taken)
            if size > MAX_FRAME:
                self.kill()
                raise self._make_died(deadline, "sent data that is not a frame")

    def _make_died(self, deadline: Deadline, how: str = "") -> WorkerDied:
        """Wait for the end of the process.

        Return the error, or raise `Cancelled` if the call was cancelled.
        """
        code = self.close()
        deadline.check()
        if how:
            return WorkerDied(how)
        if code < 0:
            with suppress(ValueError):
                return WorkerDied(f"was ended by {signal.Signals(-code).name}")
        return WorkerDied(f"ended with exit code {code}")

    def kill(self) -> None:
        """Kill the process; its pipes stay open. Thread-safe."""
        with suppress(OSError):
            self._process.kill()

    def close(self) -> int:
        """End the process, wait for it and close the pipes; return the exit code."""
        if self._stdin < 0:
            return self._process.returncode or 0
        stdin, self._stdin = self._stdin, -1
        try:
            os.close(stdin)
            if self._has_ended():
                return self._process.returncode or 0
            self.kill()
            return self._process.wait()
        finally:
            os.close(self._stdout)

    def _has_ended(self) -> bool:
        """Return whether the process has ended, or has closed its stdout because it is about to end."""
        import subprocess

        if self.is_running():
            if not wait_readable(self._stdout, 0):
                return False
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(1)
        return not self.is_running()

    def forget(self) -> None:
        """Close the copies of the pipes in this process, a forked child. The worker itself belongs to the parent."""
        if self._stdin >= 0:
            for descriptor in (self._stdin, self._stdout):
                with suppress(OSError):
                    os.close(descriptor)
            self._stdin = -1
        # Otherwise, `subprocess` would later wait for the worker, which is not a child of this process.
        self._process.returncode = 0


def _start() -> tuple[subprocess.Popen[bytes], int, int]:
    """Start a process; return the process with the descriptors of its stdin and stdout."""
    import subprocess

    opened: list[int] = []
    reason = ""
    process = None
    try:
        theirs_in, ours_out = _open_pipe(opened)
        ours_in, theirs_out = _open_pipe(opened)
        process = subprocess.Popen(  # noqa: S603 - the command is this interpreter with our module
            [_find_interpreter(), "-P", "-S", "-s", "-c", _CODE.format(str(Path(__file__).parent.parent))],
            stdin=theirs_in,
            stdout=theirs_out,
            stderr=subprocess.DEVNULL,
            cwd=os.path.abspath(os.sep),  # noqa: PTH100 - the current folder may be gone
            env=_make_environment(os.environ),
            start_new_session=True,  # otherwise a Ctrl-C in a terminal would reach the worker too
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0)
            | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        os.close(theirs_in)
        opened.remove(theirs_in)
        os.close(theirs_out)
        opened.remove(theirs_out)
        if sys.platform != "win32":
            os.set_blocking(ours_out, False)
        opened.clear()
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: Python is ending
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
    finally:
        for descriptor in opened:
            os.close(descriptor)
    if process is None:
        raise VoiceError(
            f"`espeak` cannot start its worker process: {reason}",
            expected="a system that can start another process, and a Python interpreter in sys.executable or sys.exec_prefix",
        )
    return process, ours_out, ours_in


def _open_pipe(opened: list[int]) -> tuple[int, int]:
    pair = os.pipe()
    opened += pair
    return pair


def _find_interpreter() -> str:
    """Return the path of a Python interpreter.

    This is `sys.executable`, unless that is an application that embeds Python, such as uWSGI.
    """
    names = ("python", "pypy", "graalpy")
    if sys.executable and Path(sys.executable).name.lower().startswith(names):
        return sys.executable
    folder = Path(sys.exec_prefix)
    if sys.platform == "win32":
        candidates = [folder / "python.exe", folder / "Scripts" / "python.exe"]
    else:
        candidates = [
            folder / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}",
            folder / "bin" / "python3",
        ]
    found = next((str(path) for path in candidates if path.is_file()), None)
    if found is None:
        raise RuntimeError(f"no Python interpreter in {folder}")
    return found


def _make_environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for a worker, without keys and without variables that change how Python starts."""
    return {
        name: value
        for name, value in given.items()
        if name.upper() in _KEPT or name.upper().startswith(_KEPT_PREFIXES)
    }
