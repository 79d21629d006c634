"""`llmcore serve`: run the gateway."""

from __future__ import annotations

import argparse
import os
import socket
import sys

from llmcore.errors import ConfigError, LLMCoreError
from llmcore.support.host_header import is_loopback
from llmcore_gateway.access import has_keys

__all__ = ["run"]


def run(arguments: list[str]) -> int:
    """Serve until a SIGTERM or Ctrl-C."""
    args = _make_parser().parse_args(arguments)
    from llmcore_gateway.gateway import Gateway
    from llmcore_gateway.worker import Source, configure_logging, serve

    given = {name: value for name in ("host", "port") if (value := getattr(args, name)) is not None}
    source = Source(args.config, args.profile, given)
    core = source.load()
    options = Gateway(core).options  # report a fault in the configuration before taking the port
    is_open = not has_keys(core)
    _check_exposure(options.host, is_open=is_open)
    listener = _listen(options.host, options.port)
    configure_logging()
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    print(f"llmcore gateway on http://{shown}:{port}/v1", file=sys.stderr, flush=True)
    if is_open:
        print(
            "no key exists, so every program on this machine may call the gateway",
            file=sys.stderr,
            flush=True,
        )
    if args.workers > 1:
        core.close()
        if not hasattr(os, "fork"):
            raise LLMCoreError("several workers need a POSIX system", where="--workers", fix="llmcore serve")
        from llmcore_gateway.supervisor import Supervisor

        return Supervisor(source, listener, args.workers).run()
    serve(source, listener, core)
    return 0


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="llmcore serve",
        description="Serve the configured models over HTTP, in OpenAI's and Anthropic's protocols.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--host", help="the address to listen on; default: the address in [gateway], or 127.0.0.1"
    )
    parser.add_argument(
        "--port", type=int, help="default: the port in [gateway], or 4000; 0 takes a free port"
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="the number of processes")
    group = parser.add_argument_group("for every command")
    group.add_argument("--profile", metavar="NAME", help="use [profiles.NAME]")
    group.add_argument("--config", metavar="FILE", help="use FILE in place of llmcore.toml")
    group.add_argument("--json", action="store_true", help="print errors as JSON")
    group.add_argument("--no-color", action="store_true", help="print without colour")
    return parser


def _check_exposure(host: str, *, is_open: bool) -> None:
    """Raise `ConfigError` if other machines could reach a gateway that requires no key."""
    if is_loopback(host) or not is_open:
        return
    raise ConfigError(
        f"no key exists, and other machines can reach the address {host}",
        where="[gateway] host",
        expected="a loopback address, or a key: once one exists, every request needs a key",
        fix="llmcore keys create me",
    )


def _listen(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        LLMCoreError: The address does not belong to this machine, or the port is in use.
    """
    try:
        return _open_listener(host.strip("[]"), port)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
    raise LLMCoreError(
        f"cannot listen on {host}:{port}: {reason}",
        where="[gateway] host and port",
        expected="an address of this machine and a free port",
        fix="llmcore serve --port 0",
    )


def _open_listener(host: str, port: int) -> socket.socket:
    # Not socket.create_server(): asyncio sets TCP_NODELAY only if the listening socket names its protocol. Without
    # TCP_NODELAY, an answer of several writes waits 40 ms for the client's acknowledgement.
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    return listener
