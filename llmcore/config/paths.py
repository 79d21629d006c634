"""Where a path in the configuration leads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["located"]


def located(text: str, *, env: Mapping[str, str], folder: Path | None) -> Path:
    """Return the path that *text* means.

    Args:
        text: As it was written; `~/` is the home folder.
        env: The variables that tell where that is.
        folder: What a relative path counts from: the folder of the file that says it. None leaves it relative, to the
            working directory of whoever uses it.
    """
    if (text == "~" or text.startswith("~/")) and env.get("HOME"):
        return Path(env["HOME"], text[2:])
    try:
        path = Path(text).expanduser()
    except RuntimeError:  # there is no such user: whoever uses it says so
        return Path(text)
    return path if folder is None else folder.absolute() / path
