"""Claims in the ledger, such as the claim to send an alert. A claim whose answer was lost can be repeated."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

__all__ = ["Claims"]


class Claims:
    """Gives each claim a random token.

    A repeated claim has the token of the first attempt. So the server recognizes a first attempt that succeeded.
    """

    def __init__(self) -> None:
        self._tokens: dict[tuple[Any, ...], str] = {}
        """Function and arguments of each claim whose answer was lost -> its token."""

    def run(self, call: Callable[..., Any], function: str, *args: Any, timeout_s: float) -> bool:
        """Return whether this caller made the first claim with these arguments. *call* sends the claim to the server."""
        key = (function, *args)
        token = self._tokens.pop(key, None) or secrets.token_hex(16)
        try:
            return bool(call(function, *args, token, timeout_s=timeout_s))
        except BaseException:
            self._tokens[key] = token
            raise
