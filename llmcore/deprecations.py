"""Warn about names and hooks that a later version removes. The rules are in `docs/guides/versions.md`."""

from __future__ import annotations

import warnings

__all__ = ["warn_deprecated"]


def warn_deprecated(old: str, new: str, removed_in: str, *, stacklevel: int = 2) -> None:
    """Issue a `DeprecationWarning`: the version *removed_in* will remove *old*, and *new* replaces it.

    With *stacklevel* 2, the warning names the line that called the caller of this function.
    """
    warnings.warn(
        f"{old} is deprecated and will be removed in {removed_in}: use {new}",
        DeprecationWarning,
        stacklevel=stacklevel + 1,
    )
