"""Runs the code blocks of one page in order. test_docs.py calls it with the blocks on stdin.

The python blocks share one namespace, a toml block becomes a file, a console block goes through a shell. Any
failure ends the run with the line of the page where the block begins.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

SHELL = ["bash", "-euo", "pipefail", "-c"]
FAILED = r"^(error\[|failed )"
"""An output with such a line is that of a command that fails."""
PORT = re.compile(r"(127\.0\.0\.1:)\d+")


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
            servers.append(_serve(command["text"], command.get("output", "")))
            continue
        if fault := _run_command(command["text"], command.get("output", "")):
            return f"$ {command['text']}\n{fault}"
    return None


def _run_command(text: str, shown: str) -> str | None:
    """Run the command; return what is wrong with its exit code or its output, of which the page shows *shown*."""
    done = subprocess.run(
        [*SHELL, text],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    must_fail = re.search(FAILED, shown, re.MULTILINE) is not None
    if must_fail and not done.returncode:
        return f"it must fail, and prints\n{done.stdout}"
    if done.returncode and not must_fail:
        return f"exit {done.returncode}\n{done.stdout}"
    if shown and not is_match(shown, done.stdout):
        return f"it prints\n{done.stdout}"
    return None


def is_match(shown: str, printed: str) -> bool:
    """Return whether *printed* is what a page shows.

    `...` stands for any text in a line, and alone for any lines. Ports and spaces at the end of a line may differ.
    """
    lines = [PORT.sub(r"\1PORT", line.rstrip()) for line in shown.strip("\n").splitlines()]
    pattern = "".join(
        r"(?:.*\n)*?" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") + r"\n" for line in lines
    )
    text = "".join(PORT.sub(r"\1PORT", line.rstrip()) + "\n" for line in printed.strip("\n").splitlines())
    return re.fullmatch(pattern, text) is not None


def _serve(text: str, shown: str) -> subprocess.Popen[str]:
    server = subprocess.Popen(
        [*SHELL, f"exec {text}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert server.stdout is not None
    printed = server.stdout.readline()
    if not printed:
        raise RuntimeError(f"{text}: ended at once, with {server.wait()}")
    if shown and not is_match(shown, printed):
        raise RuntimeError(f"{text}: it prints\n{printed}")
    return server


if __name__ == "__main__":
    raise SystemExit(main())
