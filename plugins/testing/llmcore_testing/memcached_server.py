"""Start real memcached servers on loopback for tests.

::

    with MemcachedServer() as server:
        cache = MemcachedCache(MemcachedOptions(servers=(server.address,)))

The class runs the `memcached` on PATH. memcached writes nothing to disk.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Final, Self

from llmcore_testing.free_ports import find_free_port

__all__ = ["MemcachedServer", "find_memcached"]

_PATIENCE_S: Final = 30.0


def find_memcached() -> str | None:
    """Return the path of `memcached`; None if it is not installed."""
    return shutil.which("memcached")


class MemcachedServer:
    """One server, as a context manager.

    Args:
        arguments: Further command-line arguments of `memcached`, such as `"-I", "16m"` or `"--auth-file", PATH`.
        unix_socket: The path of a Unix socket; without it, the server listens on a free port of 127.0.0.1.
    """

    def __init__(self, *arguments: str, unix_socket: Path | None = None) -> None:
        self.port = 0 if unix_socket else find_free_port()
        self.address = str(unix_socket) if unix_socket else f"127.0.0.1:{self.port}"
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start the server and wait until it accepts connections. A restarted server keeps its port.

        Raises:
            RuntimeError: `memcached` is not installed or did not start.
        """
        path = find_memcached()
        if path is None:
            raise RuntimeError("memcached is not installed: apt-get install memcached")
        where = ["-l", "127.0.0.1", "-p", str(self.port)] if self.port else ["-s", self.address]
        # memcached refuses to run as root; `-u` names the account to run under.
        self._process = subprocess.Popen(  # noqa: S603 - the path comes from find_memcached
            [path, *where, "-U", "0", "-u", getpass.getuser(), *self._arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        end = time.monotonic() + _PATIENCE_S
        while not self._is_accepting():
            if self._process.poll() is not None or time.monotonic() > end:
                process = self._process
                self.kill()
                said = process.stderr.read() if process.stderr and not process.stderr.closed else b""
                raise RuntimeError(f"memcached did not start: {said.decode(errors='replace')[-1000:]}")
            time.sleep(0.01)
        return self

    def ask(self, *lines: bytes) -> bytes:
        """Send *lines* over a new connection; return the first bytes of the reply.

        Raises:
            OSError: The server does not answer.
        """
        with self._connect() as connection:
            connection.sendall(b"".join(line + b"\r\n" for line in lines))
            return connection.recv(2**16)

    def pause(self) -> None:
        """Stop the process with SIGSTOP. The kernel still accepts connections, but the server does not answer."""
        process = self._get_process()
        process.send_signal(signal.SIGSTOP)
        # Wait until the whole process has stopped, because SIGSTOP stops the threads one after the other.
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Continue a paused process."""
        self._get_process().send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the process at once (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stderr is not None:
                self._process.stderr.close()
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _get_process(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("this memcached is not running")
        return self._process

    def _connect(self) -> socket.socket:
        if self.port:
            return socket.create_connection(("127.0.0.1", self.port), timeout=10)
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(10)
        try:
            connection.connect(self.address)
        except OSError:
            connection.close()
            raise
        return connection

    def _is_accepting(self) -> bool:
        try:
            self._connect().close()
        except OSError:
            return False
        return True
