"""Start a real PostgreSQL server on loopback for tests, with a database for each test.

Debian's package `postgresql` installs the server. PostgreSQL refuses to run as root, so root starts the server as another user::

    with PostgresServer(tmp_path) as server:
        url = server.create_database()
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

from llmcore_testing.free_ports import find_free_port

__all__ = ["PostgresServer", "find_postgres", "get_identity"]

_START_TIMEOUT_S: Final = 60.0
_USERS: Final = ("postgres", "nobody")
"""Root starts the server as the first of these users that exists."""
_SETTINGS: Final = {
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "unix_socket_directories": "",
}


def find_postgres() -> Path | None:
    """Return the folder with the programs of the newest installed PostgreSQL, or None if there is none."""
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    found = shutil.which("postgres")
    if found is not None:
        folders.append(Path(found).resolve().parent)
    return max(folders, key=_get_version, default=None)


def _require_programs() -> Path:
    folder = find_postgres()
    if folder is None:
        raise RuntimeError("PostgreSQL is not installed: apt-get install postgresql")
    return folder


def _get_version(folder: Path) -> int:
    version = folder.parent.name
    return int(version) if version.isdecimal() else 0


class PostgresServer:
    """A PostgreSQL server, as a context manager.

    Args:
        folder: The folder for the data and the log. The user that the server runs as must have access to it.
        settings: Lines of postgresql.conf, such as `fsync="on"` (the default here is off).
    """

    def __init__(self, folder: Path, **settings: str) -> None:
        self._folder = Path(folder, "postgres")
        self._data = self._folder / "data"
        self._settings = _SETTINGS | settings
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = find_free_port()

    @property
    def url(self) -> str:
        """The address of the database `postgres`, as superuser."""
        return self.make_url("postgres")

    def make_url(self, database: str, user: str = "postgres") -> str:
        """Return the address of *database*. The server trusts every user."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def create_database(self) -> str:
        """Create a database and return the address."""
        name = f"test_{os.getpid()}_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.make_url(name)

    def execute(self, statements: str, *, url: str | None = None) -> list[tuple[str, ...]]:
        """Execute statements with psql. Return the rows of the last statement as text.

        Raises:
            RuntimeError: The server does not answer, or refuses a statement.
        """
        command = [
            str(_require_programs() / "psql"),
            "-XqAtv",
            "ON_ERROR_STOP=1",
            "-F",
            "\x1f",
            "-d",
            url or self.url,
        ]
        done = subprocess.run(  # noqa: S603 - the path comes from find_postgres
            command, input=statements, capture_output=True, text=True, check=False, timeout=_START_TIMEOUT_S
        )
        if done.returncode:
            raise RuntimeError(done.stderr.strip())
        return [tuple(line.split("\x1f")) for line in done.stdout.splitlines()]

    @classmethod
    @contextmanager
    def in_reachable_folder(cls, **settings: str) -> Iterator[Self]:
        """Start a server in a temporary folder, and remove the folder at the end.

        The permissions of the folder let the user that the server runs as enter it.
        """
        with tempfile.TemporaryDirectory(prefix="llmcore-postgres-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            folder.chmod(0o755)
            with cls(folder, **settings) as server:
                yield server

    def start(self) -> Self:
        """Start the server and wait until it answers. A restarted server keeps its port and its data.

        Raises:
            RuntimeError: PostgreSQL is not installed or did not start.
        """
        programs = _require_programs()
        if not self._data.is_dir():
            self._make_data(programs)
        options = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        command = [str(programs / "postgres"), "-D", str(self._data), "-p", str(self.port), *options]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the path comes from find_postgres
                command, stdout=log, stderr=log, cwd=self._folder, **get_identity()
            )
        ends = time.monotonic() + _START_TIMEOUT_S
        while not self._is_answering():
            if self._process.poll() is not None or time.monotonic() > ends:
                self.kill()
                text = (self._folder / "log").read_text(errors="replace")[-1000:]
                raise RuntimeError(f"PostgreSQL did not start: {text}")
            time.sleep(0.02)
        return self

    def kill(self) -> None:
        """Kill the server, as in a crash. The next start recovers the data."""
        self._end(signal.SIGQUIT)

    def stop(self) -> None:
        """Stop the server and close all connections."""
        self._end(signal.SIGINT)

    def read_log(self) -> str:
        """Return what the server has logged."""
        return (self._folder / "log").read_text(errors="replace")

    def take_snapshot(self) -> None:
        """Stop the server, copy its data, and start it. The copy is like a replica that receives no later writes."""
        self.stop()
        self._copy(self._data, self._folder / "replica")
        self.start()

    def replace_by_snapshot(self) -> None:
        """Replace the server by the replica of `take_snapshot`.

        The replica becomes the primary. It lacks the writes since the snapshot.
        """
        self.kill()
        self._copy(self._folder / "replica", self._data)
        self.start_as_standby()
        self.promote()

    def start_as_standby(self) -> None:
        """Start the stopped server as a replica, which refuses to write."""
        (self._data / "standby.signal").touch()
        self.start()

    def promote(self) -> None:
        """Let a replica become the primary."""
        self.execute("SELECT pg_promote()")

    def _copy(self, source: Path, target: Path) -> None:
        shutil.rmtree(target, ignore_errors=True)
        subprocess.run(["cp", "-a", str(source), str(target)], check=True)  # noqa: S603, S607 - cp keeps the owners of the files

    def pause(self) -> None:
        """Pause all processes of the server with SIGSTOP. The server then accepts connections, but does not answer."""
        for pid in self._find_processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Continue a paused server."""
        for pid in self._find_processes():
            with contextlib.suppress(ProcessLookupError):  # the process has ended
                os.kill(pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _make_data(self, programs: Path) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        identity = get_identity()
        if identity:
            os.chown(self._folder, identity["user"], identity["group"])
        command = [
            str(programs / "initdb"),
            "-D",
            str(self._data),
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
        ]
        done = subprocess.run(  # noqa: S603 - the path comes from find_postgres
            [*command, "--no-sync", "--locale=C"],
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
            **identity,
        )
        if done.returncode:
            raise RuntimeError(f"initdb failed: {done.stderr[-1000:]}")

    def _is_answering(self) -> bool:
        try:
            self.execute("SELECT 1")
        except RuntimeError:
            return False
        return True

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self.resume()
            self._process.send_signal(how)
            self._process.wait()
            self._process = None

    def _find_processes(self) -> Iterator[int]:
        if self._process is None:
            return
        yield self._process.pid
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == self._process.pid:
                yield int(path.parent.name)


def get_identity() -> dict[str, Any]:
    """Return the arguments that make `subprocess.Popen` run a program as one of the users in `_USERS`.

    If this process does not run as root, return no arguments. The program then runs as the user of this process.
    """
    if os.name != "posix" or os.geteuid() != 0:
        return {}
    for name in _USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise RuntimeError("PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody`")
