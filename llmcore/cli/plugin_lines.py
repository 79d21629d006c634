"""Make the commands that errors of `llmcore plugins` propose.

The commands repeat the arguments of the call, so that they can be pasted.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Collection

from llmcore.cli.command_helpers import parse_values
from llmcore.config.mask import is_reference, is_secret_name

__all__ = ["make_plugins_line"]


def make_plugins_line(
    name: str,
    args: argparse.Namespace,
    *,
    kind: str | None = None,
    model: str | None = None,
    without: Collection[str] = (),
) -> str | None:
    """Return the line that repeats the command of *args*, `plugins info` or `plugins check`, with the provider *name*.

    Return None if an option is a secret in clear text, which must not be shown.

    Args:
        name: The provider.
        args: The arguments of the call.
        kind: The value of `--kind` that replaces the value in *args*.
        model: The value of `-m` that replaces the value in *args*.
        without: The options that the line leaves out.
    """
    given = getattr(args, "option", None)  # only `check` has options
    words = ["llmcore"]
    for place in ("config", "profile"):
        if value := getattr(args, place, None):
            words += [f"--{place}", str(value)]
    words += ["plugins", "info" if given is None else "check", name]
    if kind or args.kind:
        words += ["--kind", kind or args.kind]
    if model := model or getattr(args, "model", None):
        words += ["-m", model]
    for option, text in zip(parse_values(given or [], "-o"), given or [], strict=True):
        if is_secret_name(option) and not is_reference(text.partition("=")[2]):
            return None
        words += [] if option in without else ["-o", text]
    return shlex.join(words)
