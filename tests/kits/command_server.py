"""Run commands in forks of one process for each test worker, which starts Python and imports llmcore only once.

A fork is a complete process: it has its own streams, environment, working folder, exit code, and Python's normal end.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import pkgutil
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["can_fork", "run_in_fork"]

_LARGEST = 1 << 20
"""Bytes of a request: arguments and environment."""
_lock = threading.Lock()
_control: socket.socket | None = None
_server: subprocess.Popen[bytes] | None = None


def can_fork(site: Path, env: Mapping[str, str]) -> bool:
    """Return whether a fork behaves as a new process would: nothing that Python reads at its start is asked for."""
    at_start = any(name.startswith(("PYTHON", "LC_", "LANG", "LLMCORE_TRACEBACK")) for name in env)
    return hasattr(os, "pidfd_open") and not at_start and not (site / "sitecustomize.py").exists()


def run_in_fork(
    *,
    arguments: Sequence[str],
    folder: Path,
    site: Path,
    env: Mapping[str, str],
    stdin: bytes,
    timeout_s: float,
) -> subprocess.CompletedProcess[bytes]:
    """Run `python -m llmcore` with *arguments* in *folder*, with *site* on its path, and return how it ended.

    Raises:
        subprocess.TimeoutExpired: It did not end within *timeout_s*, and was killed.
    """
    request = {"arguments": [*arguments], "folder": str(folder), "site": str(site), "env": dict(env)}
    ours, theirs = zip(*(os.pipe() for _ in range(3)), strict=True)
    read_in, theirs = theirs[0], (ours[0], *theirs[1:])
    status, status_of_child = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with _lock:
        socket.send_fds(_connect(), [json.dumps(request).encode()], [*theirs, status_of_child.fileno()])
    for number in theirs:
        os.close(number)
    status_of_child.close()
    written: list[bytes] = [b"", b""]
    with os.fdopen(ours[1], "rb") as out, os.fdopen(ours[2], "rb") as err, os.fdopen(read_in, "wb") as into:
        workers = [
            threading.Thread(target=_read, args=(out, written, 0)),
            threading.Thread(target=_read, args=(err, written, 1)),
            threading.Thread(target=_write, args=(into, stdin)),
        ]
        for worker in workers:
            worker.start()
        with status:
            status.settimeout(timeout_s)
            pid = int(status.recv(100))
            try:
                code = int(status.recv(100))
            except TimeoutError:
                os.kill(pid, 9)
                raise subprocess.TimeoutExpired([*arguments], timeout_s) from None
            finally:
                for worker in workers:
                    worker.join(timeout_s)
    return subprocess.CompletedProcess([*arguments], code, *written)


def _read(stream: BinaryIO, written: list[bytes], number: int) -> None:
    written[number] = stream.read()


def _write(stream: BinaryIO, data: bytes) -> None:
    try:
        stream.write(data)
        stream.close()
    except BrokenPipeError:  # the command did not read all of it
        pass


def _connect() -> socket.socket:
    """Return the connection to the server of this process; start it if there is none."""
    global _control, _server
    if _control is None or _server is None or _server.poll() is not None:
        _control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        # Pipes, as its forks have: the streams of Python ask once what kind of file they are.
        _server = subprocess.Popen(
            [sys.executable, "-P", __file__, str(theirs.fileno())],
            cwd="/", env=env, pass_fds=[theirs.fileno()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        theirs.close()
        atexit.register(_end, _server, _control)
    return _control


def _end(server: subprocess.Popen[bytes], control: socket.socket) -> None:
    control.close()
    server.communicate(timeout=60)


def _serve(control: socket.socket) -> dict[str, Any] | None:
    """Fork for each request; return the request in the fork, and None when the worker has ended."""
    running: dict[int, tuple[int, int]] = {}
    while True:
        ready: list[int] = select.select([control.fileno(), *running], [], [])[0]
        for ended in (each for each in ready if each != control.fileno()):
            pid, status = running.pop(ended)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            os.write(status, str(code).encode())
            os.close(status)
            os.close(ended)
        if control.fileno() not in ready:
            continue
        message, descriptors, _, _ = socket.recv_fds(control, _LARGEST, 4)
        if not message:
            return None
        *streams, status = descriptors
        pid = os.fork()
        if pid == 0:
            control.close()
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
            for number in (*streams, status, *running, *(each for _, each in running.values())):
                os.close(number)
            return dict(json.loads(message))
        os.write(status, str(pid).encode())
        for stream in streams:
            os.close(stream)
        running[os.pidfd_open(pid)] = (pid, status)


def _import_everything() -> None:
    import llmcore

    for module in pkgutil.walk_packages(llmcore.__path__, "llmcore."):
        if not module.name.startswith(("llmcore.testing", "llmcore.__main__")):
            importlib.import_module(module.name)
    importlib.import_module("llmcore_openai_optimized.provider")  # half a second of CPU: the SDK


def _main() -> int:
    from llmcore.cli import main

    _import_everything()
    control = socket.socket(fileno=int(sys.argv[1]))
    request = _serve(control)
    if request is None:
        return 0
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.path[:0] = [request["folder"], request["site"]]
    sys.argv[1:] = request["arguments"]
    return main()


if __name__ == "__main__":
    sys.exit(_main())
