"""`llmcore plugins new`: write a complete, working plugin as a starting point."""

from __future__ import annotations

import argparse
import keyword
import re
import time
from pathlib import Path
from typing import Final, NamedTuple

from llmcore import __version__
from llmcore.cli.command_errors import UsageError
from llmcore.cli.show import note, print_json, put
from llmcore.discovery import BUILTIN
from llmcore.loading import HOOKS
from llmcore.missing_plugin import get_noun
from llmcore.support.errors import raise_unchained

__all__ = ["write"]

_TEMPLATES: Final = Path(__file__).with_name("templates")


class _Kind(NamedTuple):
    """The parts of a plugin that depend on its kind."""

    kit: str
    suffix: str
    """The end of the class name."""
    options: str
    example: str
    more: str = ""
    fresh: str = ""
    """The options that give each test a separate store."""


_KINDS: Final = {
    "llm": _Kind(
        "LLM",
        "LLM",
        '    greeting: str = "You said: "\n    """The beginning of every answer."""',
        'greeting = "I read: "',
        more=', parameters=frozenset({"max_tokens"})',
    ),
    "cache": _Kind(
        "Cache",
        "Cache",
        '    max_entries: int = 10_000\n    """The oldest entries beyond this number are evicted."""',
        "max_entries = 1000",
    ),
    "storage": _Kind(
        "Storage",
        "Storage",
        '    folder: Path = Path("@name@")\n    """The folder of the database. A relative path in llmcore.toml starts at the folder of that file."""',
        'folder = "./data"',
        fresh="folder=tmp_path",
    ),
    "ledger": _Kind(
        "Ledger",
        "Ledger",
        '    max_rows: int = 100_000\n    """The oldest settled rows beyond this number are forgotten; budgets keep their sums."""',
        "max_rows = 1000",
    ),
    "engines": _Kind(
        "Engine",
        "Engine",
        '    workers: int = 2\n    """The number of worker processes."""',
        "workers = 8",
    ),
    "voice": _Kind(
        "Voice",
        "Voice",
        '    pitch_hz: float = 220.0\n    """The pitch of the lowest letter, in Hz."""',
        "pitch_hz = 440.0",
    ),
}


def write(args: argparse.Namespace) -> int:
    """Write the plugin `args.name` of `args.kind` into a new folder."""
    name, kind = args.name, args.kind
    _check_name(name, kind)
    distribution = f"llmcore-{name.replace('_', '-')}"
    folder = Path(args.folder or distribution)
    if _is_taken(folder):
        raise UsageError(
            f"{folder} already exists",
            expected="a folder that does not exist, or an empty one; nothing was written",
            fix=f"llmcore plugins new {name} --kind {kind} --folder OTHER",
        )
    files = _render_files(name, kind, distribution)
    try:
        for path, text in files.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise_unchained(
            UsageError(
                f"{folder} cannot be written: {error.strerror or type(error).__name__}",
                where="--folder",
                expected="a folder that this user may write to",
            )
        )
    if args.json:
        print_json(folder=str(folder), files=list(files))
    else:
        put("\n".join(str(folder / path) for path in files))
        note(f"next: pip install -e {folder} && llmcore plugins check {name}")
    return 0


def _is_taken(folder: Path) -> bool:
    try:
        return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    except OSError:  # writing the files reports the error
        return False


def _render_files(name: str, kind: str, distribution: str) -> dict[str, str]:
    about, package = _KINDS[kind], f"llmcore_{name}"
    major, minor, *_ = __version__.split(".")
    words = {
        "options": about.options,
        "name": name,
        "Name": "".join(part.capitalize() for part in name.split("_")),
        "kind": kind,
        "hook": HOOKS[kind],
        "noun": get_noun(kind),
        "choice": f'[batch]\nengine = "{name}"' if kind == "engines" else f'[{kind}]\nprovider = "{name}"',
        "Kit": about.kit,
        "Suffix": about.suffix,
        "distribution": distribution,
        "package": package,
        "example": about.example,
        "more": about.more,
        "fresh": about.fresh,
        "imports": "from pathlib import Path\n\n" if about.fresh else "",
        "paths": "\nfrom pathlib import Path" if "Path" in about.options else "",
        "arguments": ", tmp_path: Path" if about.fresh else "",
        "host": f"{major}.{minor}",
        "next_host": f"{major}.{int(minor) + 1}",
        "year": time.strftime("%Y"),
    }
    return {
        "pyproject.toml": _fill("pyproject.toml", words),
        f"{package}/__init__.py": "",
        f"{package}/plugin.py": _fill("plugin.py", words),
        f"{package}/provider.py": _fill(f"provider_{kind}.py", words),
        f"{package}/py.typed": "",
        "tests/test_conformance.py": _fill("test_conformance.py", words) + _fill(f"kit_{kind}", {}),
        "README.md": _fill("README.md", words),
        "LICENSE": _fill("LICENSE", words),
    }


def _fill(template: str, words: dict[str, str]) -> str:
    text = (_TEMPLATES / f"{template}.txt").read_text(encoding="utf-8")
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text


def _check_name(name: str, kind: str) -> None:
    taken = {claim.name for claim in BUILTIN}
    if re.fullmatch(r"[a-z][a-z0-9_]*", name) and not keyword.iskeyword(name) and name not in taken:
        return
    better = re.sub(r"[^a-z0-9]+", "_", name.lower()).lstrip("_0123456789").rstrip("_")
    fault = "is a built-in name" if name in taken else "is not a valid provider name"
    good = better if better and better not in taken and not keyword.iskeyword(better) else None
    if good == name:
        good = None
    raise UsageError(
        f"`{name}` {fault}",
        expected=f"a name other than {', '.join(sorted(taken))}"
        if name in taken
        else "lower-case letters, digits and underscores, starting with a letter",
        suggestion=good,
        fix=f"llmcore plugins new {good or f'my_{name}'} --kind {kind}" if good or name in taken else None,
    )
