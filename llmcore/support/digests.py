"""SHA-256 for a process that needs few digests, such as a cached answer on the command line.

Importing `hashlib` loads OpenSSL, which takes longer than answering from the cache.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = ["start_sha256"]

_LARGE: Final = 2**17
"""For this many bytes or more, OpenSSL saves more time than its import takes."""


def start_sha256(data: bytes, size: int = 0) -> _Hash:
    """Return `hashlib.sha256(data)`. If hashlib is not loaded and the data are small, use the module without OpenSSL.

    Args:
        data: The first bytes.
        size: Number of bytes that follow.
    """
    new: Any = None
    if "hashlib" not in sys.modules and len(data) + size < _LARGE:
        new = _find_own()
    if new is None:
        from hashlib import sha256 as new
    digest: _Hash = new(data)
    return digest


def _find_own() -> Any:
    """Return the constructor in Python's module without OpenSSL; None if this Python lacks the module."""
    for name in ("_sha256", "_sha2"):  # the first name up to Python 3.11, the second since 3.12
        try:
            return __import__(name).sha256
        except ImportError:
            continue
    return None
