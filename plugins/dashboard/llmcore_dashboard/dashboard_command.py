"""`llmcore dashboard`: serve the page on loopback, or write it to a file."""

from __future__ import annotations

import argparse
import os
import secrets
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from llmcore.errors import BadRequest, LLMCoreError
from llmcore_dashboard.view import FILTERS, GROUPS, RANGES, STEPS, View, ViewError, parse_view

if TYPE_CHECKING:
    from llmcore import Core

__all__ = ["run"]


def run(arguments: list[str]) -> int:
    """Serve until Ctrl-C or SIGTERM, or write the file."""
    args = _make_parser().parse_args(arguments)
    view = _make_view(args)
    import llmcore

    with llmcore.load(args.config, profile=args.profile) as core:
        if args.export is not None:
            _write_report(core, view, args)
        else:
            _serve(core, view, args)
    return 0


def _write_report(core: Core, view: View, args: argparse.Namespace) -> None:
    from llmcore_dashboard.export import render_file

    fault = None
    try:
        document = render_file(core, view)
    except ViewError as error:
        fault = BadRequest(str(error), where="the view", fix="llmcore dashboard --help")
    if fault is not None:
        raise fault
    if args.export == "-":
        print(document, end="")
        return
    Path(args.export).write_text(document, encoding="utf-8")
    print(f"wrote {args.export}, {len(document.encode()) / 1000:.0f} KB", file=sys.stderr)


def _serve(core: Core, view: View, args: argparse.Namespace) -> None:
    import uvicorn

    from llmcore_dashboard.app import create_app

    core.usage.zone(view.zone or None)  # reports a misspelt zone before the server starts
    listener = _listen(core.table("dashboard").port if args.port is None else args.port)
    token = secrets.token_urlsafe(18)
    query = view.make_query()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/{token}/{query if query != '?' else ''}"
    # The address contains the token, so the access log stays off.
    config = uvicorn.Config(
        create_app(core, token),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
    )
    print(url, flush=True)
    print("press Ctrl-C to stop", file=sys.stderr, flush=True)
    if args.open:
        import webbrowser

        webbrowser.open(url)
    uvicorn.Server(config).run([listener])


def _listen(port: int) -> socket.socket:
    """Return a socket that listens on loopback.

    Raises:
        LLMCoreError: The server cannot listen on the port.
    """
    reason = ""
    try:
        return socket.create_server(("127.0.0.1", port))
    except OverflowError:
        reason = "a port must be from 0 to 65535"
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
    raise LLMCoreError(
        f"cannot listen on 127.0.0.1:{port}: {reason}",
        where="--port",
        expected="a free port; 0 takes one",
        fix="llmcore dashboard --port 0",
    )


def _make_view(args: argparse.Namespace) -> View:
    names = ("range", "since", "until", "group", "step", "zone", *FILTERS)
    given = {name: value for name in names if (value := getattr(args, name)) is not None}
    fault = None
    try:
        return parse_view(urlencode(given))
    except ViewError as error:
        fault = BadRequest(str(error), where="the view", fix="llmcore dashboard --help")
    raise fault


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="llmcore dashboard",
        description="Show in a browser what calls cost: serve a page on this machine, or write it into a file.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--export", metavar="FILE", help="write the page into FILE in place of serving it; - for stdout"
    )
    parser.add_argument(
        "--port", type=int, help="the port on 127.0.0.1; default: the port in [dashboard], or a free port"
    )
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    view = parser.add_argument_group("first view, which the reader can change on the page")
    view.add_argument("--range", choices=tuple(RANGES), help="default: 30d")
    view.add_argument("--since", metavar="DAY", help="the first day, in place of --range")
    view.add_argument("--until", metavar="DAY", help="the day after the last day of the period")
    view.add_argument("--group", choices=GROUPS, help="what divides the chart of cost; default: model")
    view.add_argument(
        "--step", choices=STEPS, help="the time that one bar covers; default: chosen for the period"
    )
    view.add_argument(
        "--zone", metavar="ZONE", help="the time zone, such as Europe/Berlin; default: local time"
    )
    for name in FILTERS:
        view.add_argument(f"--{name}", metavar=name.upper(), help=f"only calls of this {name}")
    group = parser.add_argument_group("for every command")
    group.add_argument("--profile", metavar="NAME", help="use [profiles.NAME]")
    group.add_argument("--config", metavar="FILE", help="use FILE in place of llmcore.toml")
    group.add_argument("--json", action="store_true", help="print errors as JSON")
    group.add_argument("--no-color", action="store_true", help="print without colour")
    return parser
