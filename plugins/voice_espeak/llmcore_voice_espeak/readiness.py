"""Wait until a pipe can be read or written, with a timeout. The functions work on every system."""

from __future__ import annotations

import math
import select
import sys
import time
from typing import Final

__all__ = ["wait_readable", "wait_writable"]

_LONGEST_S: Final = 3_600.0
"""Maximum seconds of one wait. poll() takes milliseconds as a C int, which a longer wait could exceed."""

if sys.platform == "win32":
    import _winapi
    import msvcrt

    _STEP_S: Final = 0.002

    def wait_readable(descriptor: int, seconds: float) -> bool:
        """Return whether *descriptor* has data or is at its end, after *seconds* at most."""
        ends = time.monotonic() + seconds
        handle = msvcrt.get_osfhandle(descriptor)
        while True:
            try:
                if _winapi.PeekNamedPipe(handle, 0)[0]:
                    return True
            except OSError:
                return True
            if time.monotonic() >= ends:
                return False
            time.sleep(_STEP_S)

    def wait_writable(descriptor: int, seconds: float) -> bool:
        """Return True, because on this system the write itself waits until the pipe takes data."""
        del descriptor, seconds
        return True

else:

    def wait_readable(descriptor: int, seconds: float) -> bool:
        """Return whether *descriptor* has data or is at its end, after *seconds* at most."""
        return _wait(descriptor, seconds, writing=False)

    def wait_writable(descriptor: int, seconds: float) -> bool:
        """Return whether *descriptor* takes data or is broken, after *seconds* at most."""
        return _wait(descriptor, seconds, writing=True)

    def _wait(descriptor: int, seconds: float, *, writing: bool) -> bool:
        seconds = min(seconds, _LONGEST_S)
        if not hasattr(select, "poll"):  # a library that replaces blocking calls has removed `poll`
            reading = [] if writing else [descriptor]
            return any(select.select(reading, [descriptor] if writing else [], [], seconds))
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT if writing else select.POLLIN)
        return bool(poll.poll(math.ceil(seconds * 1000)))
