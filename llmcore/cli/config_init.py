"""`llmcore config init`: write the first configuration, with the API key or the model server that was found."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from llmcore.cli.command_errors import UsageError
from llmcore.cli.first_config import (
    LOCAL_SERVERS,
    FirstConfig,
    find_key,
    find_server,
    find_servers,
    render_start,
)
from llmcore.cli.show import note
from llmcore.config.edit import check_absent, write_example, write_first
from llmcore.plugins import Catalogue

__all__ = ["init"]


def init(args: argparse.Namespace, file: Path, shown: str) -> int:
    """Write *file*, which must not exist. Messages show the path as *shown*.

    Raises:
        ConfigError: The file exists, or cannot be written.
        UsageError: No model server answers at the address of `--server`.
    """
    check_absent(file)
    start = None if args.example else _find_start(args, os.environ)
    if start is None:
        write_example(file)
        note(f"wrote {shown}")
        which = " --user" if args.user else ""
        command = f"llmcore{f' --config {shlex.quote(args.config)}' if args.config else ''} config set{which}"
        note(f"next: {command} llm.provider openai && {command} llm.model gpt-5.6-luna")
        note("      export OPENAI_API_KEY=sk-...")
        return 0
    write_first(file, render_start(start))
    note(f"wrote {shown}, with {start.found} and the model {start.model}")
    if start.needs_key and not os.environ.get("OPENAI_API_KEY"):
        note("next: export OPENAI_API_KEY=unused   # the server needs no key, but the provider sends one")
    note(f"next: llmcore{f' --config {shlex.quote(args.config)}' if args.config else ''} ask Hello")
    return 0


def _find_start(args: argparse.Namespace, env: Mapping[str, str]) -> FirstConfig | None:
    """Return the key or server that the configuration will use; None if neither was found."""
    catalogue = Catalogue()
    if args.server:
        return _find_named_server(args.server, catalogue)
    start, notes = find_key(env, catalogue)
    for text in notes:
        note(text)
    if start is not None:
        return start
    for name, address, models in find_servers(LOCAL_SERVERS):
        start = find_server(address, models, name, catalogue)
        if start is not None:
            return start
        note(f"a server answers at {address}, but no provider for it is installed")
    return None


def _find_named_server(server: str, catalogue: Catalogue) -> FirstConfig:
    """Return the `FirstConfig` for the server at the address *server*, with or without `http://` and `/v1`.

    Raises:
        UsageError: No model server answers there, or no provider for the server is installed.
    """
    address = (server if "://" in server else f"http://{server}").rstrip("/")
    tried = [address] if address.endswith("/v1") else [f"{address}/v1", address]
    name = next((name for name, usual in LOCAL_SERVERS if usual in tried), "openai")
    found = find_servers([(name, each) for each in tried], timeout_s=5.0)
    if not found:
        raise UsageError(
            f"no model server answers at {server}",
            where="--server",
            expected="the address of a running server that lists its models at /v1/models",
            fix=f"curl {shlex.quote(tried[0] + '/models')}",
        )
    start = find_server(found[0][1], found[0][2], name, catalogue)
    if start is None:
        from llmcore.install_lines import make_install_line

        raise UsageError(
            f"a server answers at {server}, but no provider for it is installed",
            expected="a provider for servers that speak OpenAI's protocol",
            fix=make_install_line("llmcore-openai-optimized"),
        )
    return start
