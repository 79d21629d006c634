"""Start a real PgBouncer on loopback for tests, in front of a PostgreSQL server. Debian's package `pgbouncer` installs it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Final, Self

from llmcore_testing.postgres_server import PostgresServer, get_identity

__all__ = ["PgBouncer", "find_pgbouncer"]

_START_TIMEOUT_S: Final = 60.0


def find_pgbouncer() -> str | None:
    """Return the path of the program; None if it is not installed."""
    return shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")


class PgBouncer:
    """A transaction pooler, as a context manager: each transaction of a client may run on another connection.

    Args:
        server: The PostgreSQL server behind the pooler.
        folder: The folder for the configuration and the log. The user that the server runs as must have access to it.
        pool_size: The number of connections to the server.
    """

    def __init__(self, server: PostgresServer, folder: Path, *, pool_size: int = 2) -> None:
        self._server = server
        self._folder = folder
        self._pool_size = pool_size
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def make_url(self, url: str) -> str:
        """Return a URL that reaches the database in *url* through the pooler."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{url.rpartition('/')[2]}"

    def __enter__(self) -> Self:
        program = find_pgbouncer()
        if program is None:
            raise RuntimeError("PgBouncer is not installed: apt-get install pgbouncer")
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        path = self._folder / "pgbouncer.ini"
        path.write_text(
            f"""[databases]
* = host=127.0.0.1 port={self._server.port} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {self._pool_size}
server_idle_timeout = 1
"""
        )
        log = (self._folder / "pgbouncer.log").open("ab")
        with log:
            self._process = subprocess.Popen(  # noqa: S603 - the path comes from find_pgbouncer
                [program, str(path)], stdout=log, stderr=log, cwd=self._folder, **get_identity()
            )
        ends = time.monotonic() + _START_TIMEOUT_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1.0).close()
            except OSError:
                if self._process.poll() is not None or time.monotonic() > ends:
                    self.__exit__()
                    text = (self._folder / "pgbouncer.log").read_text(errors="replace")[-1000:]
                    raise RuntimeError(f"PgBouncer did not start: {text}") from None
                time.sleep(0.02)
            else:
                return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
