"""Find the server of a name, which is a key in Redis.

The server is the single server, the master that Sentinels report, or a node of a Cluster.

A plan is a generator of commands for servers, so sync and async callers share the code.
"""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Sequence
from typing import Any, Final, Protocol, TypeVar

from redis.crc import key_slot

from llmcore_cache_redis.address import Address, Target
from llmcore_cache_redis.errors import Broken, ReplyError
from llmcore_cache_redis.wire import ServerCommands, pack_command

__all__ = ["Cluster", "Plan", "Sentinels", "ServerFinder", "Standalone", "call", "make_finder"]

T = TypeVar("T")
_REDIRECT: Final = re.compile(r"(?:MOVED|ASK) \d+ (.*):(\d+)")
Plan = Generator[ServerCommands, list[Any], T]
"""Yields commands, receives their replies, and returns the result.

The error of a broken connection is raised inside the plan.
"""


class ServerFinder(Protocol):
    """Finds the servers of names."""

    def get_address(self, name: bytes) -> Address | None:
        """Return the server of *name*; None if the server is not known yet."""
        ...

    def find(self, name: bytes) -> Plan[Address]:
        """Return the server of *name*."""
        ...

    def find_masters(self) -> Plan[Sequence[Address]]:
        """Return every server that accepts writes."""
        ...

    def doubt(self, address: Address) -> None:
        """Record that the server does not answer or has changed its role, so that the next call finds a server again."""
        ...


class Standalone:
    """One server."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def get_address(self, name: bytes) -> Address | None:  # noqa: ARG002 - the only server has every name
        """See `ServerFinder.get_address`."""
        return self._address

    def find(self, name: bytes) -> Plan[Address]:  # noqa: ARG002 - the only server has every name
        """See `ServerFinder.find`."""
        yield from ()
        return self._address

    def find_masters(self) -> Plan[Sequence[Address]]:
        """See `ServerFinder.find_masters`."""
        yield from ()
        return [self._address]

    def doubt(self, address: Address) -> None:
        """See `ServerFinder.doubt`."""


class Sentinels:
    """The master that the Sentinels report; the Sentinels are asked again when the master fails."""

    def __init__(self, sentinels: Sequence[Address], master: str, timeout_s: float) -> None:
        self._sentinels = list(sentinels)
        self._master = master
        self._timeout_s = timeout_s
        self._address: Address | None = None

    def get_address(self, name: bytes) -> Address | None:  # noqa: ARG002 - the master has every name
        """See `ServerFinder.get_address`."""
        return self._address

    def find(self, name: bytes) -> Plan[Address]:  # noqa: ARG002 - the master has every name
        """See `ServerFinder.find`."""
        deadline = time.monotonic() + self._timeout_s
        trouble: Exception = Broken("no Sentinel was asked")
        for sentinel in list(self._sentinels):
            if time.monotonic() > deadline:
                break
            try:
                address = yield from self._ask_sentinel(sentinel)
                yield from _check_master(address)
            except (Broken, ReplyError) as error:
                trouble = error
                self._move_to_end(sentinel)
                continue
            self._address = address
            return address
        raise trouble

    def find_masters(self) -> Plan[Sequence[Address]]:
        """See `ServerFinder.find_masters`."""
        return [self._address or (yield from self.find(b""))]

    def doubt(self, address: Address) -> None:
        """See `ServerFinder.doubt`."""
        if self._address == address:
            self._address = None

    def _ask_sentinel(self, sentinel: Address) -> Plan[Address]:
        asked = pack_command((b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", self._master))
        try:
            reply = yield from _call_at(sentinel, asked, sentinel=True)
        except ReplyError as error:
            error.by_sentinel = True
            raise
        if not reply:
            raise Broken(f"the Sentinel {sentinel} does not know that master")
        return Address(reply[0].decode(), int(reply[1]))

    def _move_to_end(self, sentinel: Address) -> None:
        """Move *sentinel* to the end of the list."""
        others = [other for other in self._sentinels if other != sentinel]
        self._sentinels = [*others, sentinel]


class Cluster:
    """The masters of a Cluster, by slot."""

    def __init__(self, nodes: Sequence[Address], timeout_s: float) -> None:
        self._nodes = list(nodes)
        self._timeout_s = timeout_s
        self._slots: dict[int, Address] = {}

    def get_address(self, name: bytes) -> Address | None:
        """See `ServerFinder.get_address`."""
        return self._slots.get(key_slot(name))

    def find(self, name: bytes) -> Plan[Address]:
        """See `ServerFinder.find`."""
        yield from self._find_servers()
        address = self.get_address(name)
        if address is None:
            raise ReplyError("CLUSTERDOWN a slot is served by no node")
        return address

    def find_masters(self) -> Plan[Sequence[Address]]:
        """See `ServerFinder.find_masters`."""
        yield from self._find_servers()
        return sorted(set(self._slots.values()))

    def doubt(self, address: Address) -> None:
        """See `ServerFinder.doubt`."""
        self._slots = {}
        others = [node for node in self._nodes if node != address]
        if len(others) < len(self._nodes):
            self._nodes = [*others, address]

    def record_move(self, name: bytes, address: Address) -> None:
        """Record the server of *name* that the Cluster reported."""
        self._slots[key_slot(name)] = address

    def _find_servers(self) -> Plan[None]:
        deadline = time.monotonic() + self._timeout_s
        trouble: Exception = Broken("no node was asked")
        for node in list(self._nodes):
            if time.monotonic() > deadline:
                break
            try:
                ranges = yield from _call_at(node, pack_command((b"CLUSTER", b"SLOTS")))
            except (Broken, ReplyError) as error:
                trouble = error
                self.doubt(node)
                continue
            slots: dict[int, Address] = {}
            for first, last, (host, port, *_), *_ in ranges:
                address = Address(host.decode() if host else node.host, int(port))
                slots |= dict.fromkeys(range(first, last + 1), address)
            self._slots = slots
            seeds = [known for known in self._nodes if known not in slots.values()]
            self._nodes = [*sorted(set(slots.values())), *seeds][:64]
            return
        raise trouble


def make_finder(target: Target, timeout_s: float) -> ServerFinder:
    """Return the finder of the servers of *target*. Finding them may take up to *timeout_s* seconds."""
    if target.kind == "sentinel":
        return Sentinels(target.nodes, target.master, timeout_s)
    if target.kind == "cluster":
        return Cluster(target.nodes, timeout_s)
    return Standalone(target.nodes[0])


def _check_master(address: Address) -> Plan[None]:
    role = yield from _call_at(address, pack_command((b"ROLE",)))
    if role[0] != b"master":
        raise Broken(f"{address}, which the Sentinels name, is not the master yet")


def _call_at(address: Address, payload: bytes, *, sentinel: bool = False) -> Plan[Any]:
    """Send one command to one server and return its reply. If the reply is an error, raise it."""
    (reply,) = yield ServerCommands(address, payload, sentinel=sentinel)
    if isinstance(reply, ReplyError):
        raise reply
    return reply


def call(finder: ServerFinder, name: bytes, payload: bytes, timeout: float | None = None) -> Plan[Any]:
    """Send one command to the server of *name*, and follow one redirection of a Cluster.

    Raises:
        Broken: The server did not answer.
        ReplyError: The server refused the command.
    """
    stale = False
    address = finder.get_address(name) or (yield from finder.find(name))
    try:
        (reply,) = yield ServerCommands(address, payload, 1, timeout)
    except Broken as error:
        finder.doubt(address)
        if not error.stale:
            raise
        stale = True
    if stale:  # the server had closed an idle connection, as after a restart, so the command was not executed
        address = finder.get_address(name) or (yield from finder.find(name))
        (reply,) = yield ServerCommands(address, payload, 1, timeout)
    if not isinstance(reply, ReplyError):
        return reply
    reply = yield from _follow_redirect(finder, name, payload, address, reply)
    if isinstance(reply, ReplyError):
        if reply.code in {"READONLY", "MASTERDOWN", "CLUSTERDOWN", "MOVED"}:
            finder.doubt(address)
        raise reply
    return reply


def _follow_redirect(
    finder: ServerFinder, name: bytes, payload: bytes, address: Address, reply: ReplyError
) -> Plan[Any]:
    where = _REDIRECT.fullmatch(str(reply))
    if not isinstance(finder, Cluster) or where is None:
        return reply
    host, port = where.groups()
    there = Address(host or address.host, int(port))
    if reply.code == "MOVED":
        finder.record_move(name, there)
        (answer,) = yield ServerCommands(there, payload)
    else:
        _, answer = yield ServerCommands(there, pack_command((b"ASKING",)) + payload, 2)
    return answer
