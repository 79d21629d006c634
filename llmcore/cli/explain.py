"""`llmcore explain`: print the meaning, cause and remedy of an error code."""

from __future__ import annotations

import argparse
import re
import textwrap
from difflib import get_close_matches

from llmcore.cli.command_errors import UsageError
from llmcore.cli.show import Paint, print_json, put
from llmcore.cli.streams import get_stdout
from llmcore.error_codes import CODES, render_page

__all__ = ["configure", "run"]

_WIDTH = 78


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `explain`."""
    parser.epilog = "examples:\n  llmcore explain LC604\n  llmcore explain            lists every code"
    parser.add_argument(
        "code", nargs="?", metavar="CODE", help="an error code, such as LC604; without a code, list all codes"
    )
    parser.add_argument("--markdown", action="store_true", help="print the page docs/errors.md")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print one error code, or all error codes."""
    if args.markdown:
        put(render_page(), end="")
        return 0
    codes = CODES if args.code is None else {(code := _find_code(args.code)): CODES[code]}
    if args.json:
        print_json(codes=[{"code": code, **each._asdict()} for code, each in codes.items()])
        return 0
    paint = Paint.for_stream(get_stdout(), no_color=args.no_color)
    if args.code is None:
        for code, each in codes.items():
            put(f"{paint('bold', code)}  {each.summary}")
        return 0
    for code, each in codes.items():
        put(f"{paint('bold', code)}  {each.summary}")
        for label, text in (("cause", each.cause), ("what to do", each.remedy)):
            put("\n" + _wrap(f"{label}: {text}"))
    return 0


def _wrap(text: str) -> str:
    """Wrap *text*. Code in backquotes is not wrapped, so that it can be pasted."""
    unbroken = re.sub(r"`[^`]*`", lambda quoted: quoted[0].replace(" ", "\0"), text)
    lines = textwrap.wrap(unbroken, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace("\0", " ")


def _find_code(given: str) -> str:
    """Return the error code in *given*: `LC604`, `lc604` or `604`.

    Raises:
        UsageError: The code does not exist.
    """
    digits = given.strip().strip("[]").upper().removeprefix("ERROR[").removeprefix("LC")
    code = f"LC{digits}"
    if code in CODES:
        return code
    near = get_close_matches(code, CODES, n=1, cutoff=0.6)
    raise UsageError(
        f"unknown error code `{given}`",
        where="CODE",
        expected=f"one of {len(CODES)} codes, from LC000 to {max(CODES)}",
        suggestion=near[0] if near else None,
        fix=f"llmcore explain {near[0]}" if near else "llmcore explain",
    )
