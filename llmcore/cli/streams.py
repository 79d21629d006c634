"""The standard streams of the command line: stdout contains only the answer, unchanged.

Plugins and C libraries in this process may write to stdout as well. So file descriptor 1 is redirected to stderr, and
the answer is written to a separate descriptor.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, TextIO

__all__ = [
    "can_show_unicode",
    "claim_stdout",
    "count_lost_characters",
    "flush_streams",
    "get_stdout",
    "give_stdout",
    "prepare_encoding",
    "resolve_output_path",
]

_REPLACE: Final = "llmcore-replace"
_STDOUT: Final = 1
_STDERR: Final = 2
_NAMES: Final = frozenset({"/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"})
"""The paths by which a user can name stdout."""

_answer: io.TextIOWrapper | None = None
_lost = 0


def get_stdout() -> TextIO:
    """Return the stream for the answer: the original stdout of the process."""
    return sys.stdout if _answer is None else _answer


def claim_stdout() -> None:
    """Reserve stdout for the answer; all other writes to stdout go to stderr.

    Closed standard streams are replaced by the null device. Call this function once in a command-line process, before
    plugins load.
    """
    global _answer
    is_ours = _replace_closed()
    if _answer is not None or not is_ours or not _is_real_stdout(sys.stdout):
        return
    try:
        sys.stdout.flush()
    except OSError:  # `run` writes the same text again, and reports the fault
        _discard_unwritten(sys.stdout)
    _answer = _open_like_stdout(os.dup(_STDOUT))
    os.dup2(_STDERR, _STDOUT)
    # Create a new object, because the old object has cached whether its file can seek.
    sys.stdout = _open_like_stdout(_STDOUT, _Diagnostics, line_buffering=True, errors="backslashreplace")


@contextmanager
def give_stdout() -> Iterator[None]:
    """Point descriptor 1 and `sys.stdout` at the real stdout, for a plugin command or `input()`."""
    if _answer is None:
        yield
        return
    before = sys.stdout
    _answer.flush()
    before.flush()
    os.dup2(_answer.fileno(), _STDOUT)
    sys.stdout = given = _open_like_stdout(
        _STDOUT, line_buffering=_answer.line_buffering, errors=_answer.errors
    )
    try:
        yield
        given.flush()
    except OSError as error:
        from llmcore.errors import LLMCoreError

        if not isinstance(error, LLMCoreError):  # StorageNotFound is not a fault of stdout
            _redirect_to_null(_STDOUT)  # otherwise the unwritten data would go to stderr
        raise
    finally:
        given.flush()
        os.dup2(_STDERR, _STDOUT)
        sys.stdout = before


def flush_streams() -> None:
    """Flush all streams and close the answer's stream; call it at the end of the process.

    Otherwise Python would change the exit code to 120 if a stream is full, and warn if a stream is open.
    """
    global _answer
    answer, _answer = _answer, None
    for stream in (answer, sys.stdout, sys.stderr):
        if stream is not None:
            try:
                stream.flush()
            except (OSError, ValueError):
                with suppress(OSError, ValueError):
                    _redirect_to_null(stream.fileno())
    if answer is not None:
        with suppress(OSError, ValueError):
            answer.close()


def prepare_encoding() -> None:
    """Replace characters that a stream cannot encode, and count the replaced characters of the answer."""
    _replace_closed()
    codecs.register_error(_REPLACE, _replace)
    for stream, errors in ((get_stdout(), _REPLACE), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)


def count_lost_characters() -> int:
    """Return how many characters of the answer were replaced by `?`."""
    return _lost


def can_show_unicode(stream: TextIO) -> bool:
    """Return whether *stream* is UTF-8."""
    try:
        return codecs.lookup(stream.encoding).name == "utf-8"
    except (AttributeError, LookupError, TypeError):
        return False


def resolve_output_path(name: str) -> str:
    """Return the path of the output *name*; names of stdout, such as /dev/stdout, become the real stdout."""
    return f"/dev/fd/{_answer.fileno()}" if _answer is not None and name in _NAMES else name


def _redirect_to_null(number: int) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)


def _discard_unwritten(stream: TextIO) -> None:
    """Empty the buffer of *stream*, which cannot be written."""
    saved = os.dup(stream.fileno())
    _redirect_to_null(stream.fileno())
    stream.flush()
    os.dup2(saved, stream.fileno())
    os.close(saved)


def _replace(error: UnicodeError) -> tuple[str, int]:
    global _lost
    if not isinstance(error, UnicodeEncodeError):
        raise error
    _lost += error.end - error.start
    return "?" * (error.end - error.start), error.end


def _is_real_stdout(stream: TextIO | None) -> bool:
    """Return whether *stream* is the stdout of the process, not a replacement by an application."""
    try:
        return isinstance(stream, io.TextIOWrapper) and stream.fileno() == _STDOUT
    except (OSError, ValueError):
        return False


class _Diagnostics(io.FileIO):
    """A stream for the output of plugins and libraries. Errors of a full or closed stderr are ignored."""

    def write(self, data: Any) -> int:
        """Write *data*; ignore errors."""
        try:
            return super().write(data)
        except OSError:
            return len(data)


def _open_like_stdout(
    number: int,
    kind: type[io.FileIO] = io.FileIO,
    *,
    line_buffering: bool | None = None,
    errors: str | None = None,
) -> io.TextIOWrapper:
    """Return a stream to the descriptor *number* with the settings of stdout."""
    like: Any = sys.stdout
    raw = kind(number, "wb", closefd=number != _STDOUT)
    return io.TextIOWrapper(
        raw if like.write_through else io.BufferedWriter(raw),  # unbuffered, as with `python -u`
        encoding=like.encoding,
        errors=errors or like.errors,
        line_buffering=like.line_buffering if line_buffering is None else line_buffering,
        write_through=like.write_through,
    )


def _replace_closed() -> bool:
    """Open the null device in place of closed standard streams; return whether descriptor 1 is stdout.

    A file that another part of the program has opened under such a descriptor is not replaced.
    """
    is_ours = True
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None:
            continue
        free = _is_free(number)
        if free:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)  # noqa: FBT003 - os.set_inheritable accepts positional arguments only
        is_ours = is_ours and (free or number != _STDOUT)
        path, mode = (number if free else os.devnull), ("w" if number else "r")
        setattr(sys, name, open(path, mode, encoding="utf-8", closefd=not free))  # noqa: SIM115
    return is_ours


def _is_free(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return True
    return False
