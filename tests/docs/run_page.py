"""Runs the code blocks of one page, in order, as its reader would: called by test_docs.py, the blocks on stdin.

The python blocks share one namespace, a toml block becomes a file, a console block goes through a shell. Any
failure ends the run with the line of the page where the block begins.
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

SHELL = ["bash", "-euo", "pipefail", "-c"]


def main() -> int:
    page, blocks = json.load(sys.stdin)
    sys.path.insert(0, "")
    names: dict[str, Any] = {"__name__": "__main__"}
    servers: list[subprocess.Popen[str]] = []
    try:
        for block in blocks:
            fault = _run(page, block, names, servers)
            if fault:
                sys.stderr.write(f"{page}:{block['line']}: this {block['language']} block fails:\n{fault}\n")
                return 1
    finally:
        for server in servers:
            server.terminate()
            server.communicate()
    return 0


def _run(
    page: str, block: dict[str, Any], names: dict[str, Any], servers: list[subprocess.Popen[str]]
) -> str | None:
    if block["file"]:
        path = Path(block["file"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block["text"])
    elif block["language"] == "python":
        printed = io.StringIO()
        try:
            # Line numbers of the page, so that a traceback leads there.
            code = compile("\n" * block["line"] + block["text"], page, "exec")
            with contextlib.redirect_stdout(printed):
                exec(code, names)  # noqa: S102 - the page is ours, and this is its test
        except BaseException:  # noqa: BLE001 - SystemExit from an example is a failure too
            return traceback.format_exc()
        if block.get("output", "").rstrip() not in {"", printed.getvalue().rstrip()}:
            return f"it prints\n{printed.getvalue()}"
    for command in block["commands"]:
        if command["server"]:
            servers.append(_serve(command["text"]))
            continue
        done = subprocess.run(
            [*SHELL, command["text"]], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
        if done.returncode:
            return f"$ {command['text']}\nexit {done.returncode}\n{done.stdout}{done.stderr}"
    return None


def _serve(text: str) -> subprocess.Popen[str]:
    server = subprocess.Popen(
        [*SHELL, f"exec {text}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert server.stdout is not None
    if not server.stdout.readline():
        raise RuntimeError(f"{text}: ended at once, with {server.wait()}")
    return server


if __name__ == "__main__":
    raise SystemExit(main())
