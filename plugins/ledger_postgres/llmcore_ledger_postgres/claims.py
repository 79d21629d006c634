"""Claims that can be repeated if their answer was lost."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

__all__ = ["Claims"]


class Claims:
    """Gives each claim a random token.

    A claim is repeated with the same token, so that the server recognizes it.
    """

    def __init__(self) -> None:
        self._tokens: dict[tuple[Any, ...], str] = {}
        """The tokens of claims whose answer was lost."""

    def run(self, call: Callable[..., Any], function: str, *args: Any, timeout_s: float) -> bool:
        """Return whether this claim, or the lost claim that it repeats, is the first claim with these arguments."""
        key = (function, *args)
        token = self._tokens.pop(key, None) or secrets.token_hex(16)
        try:
            return bool(call(function, *args, token, timeout_s=timeout_s))
        except BaseException:
            self._tokens[key] = token
            raise
