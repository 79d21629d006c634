"""One asynchronous client for each event loop: connections belong to the loop that opened them."""

from __future__ import annotations

import asyncio  # noqa: TID253 - loaded only when a provider is created
import threading
from collections.abc import AsyncGenerator

from elevenlabs import AsyncElevenLabs  # noqa: TID253 - loaded only when a provider is created

from llmcore_voice_tts._http import AsyncWeb, asynchronous_sdk
from llmcore_voice_tts.account import Account

__all__ = ["AsyncSdks"]


class AsyncSdks:
    """Makes the client of the running loop at its first use, and closes it when the loop is shut down."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._lock = threading.Lock()
        self._made: dict[asyncio.AbstractEventLoop, tuple[AsyncElevenLabs, AsyncGenerator[None]]] = {}

    async def get(self) -> AsyncElevenLabs:
        """Return the client of the running loop."""
        loop = asyncio.get_running_loop()
        made = self._made.get(loop)
        if made is not None:
            return made[0]
        web = AsyncWeb(self._account)
        sdk, keeper = asynchronous_sdk(self._account, web), self._keep(loop, web)
        with self._lock:
            for other in [each for each in self._made if each.is_closed()]:
                del self._made[other]
            self._made[loop] = (sdk, keeper)
        await anext(keeper)
        return sdk

    async def aclose(self) -> None:
        """Close the clients of all loops that still run; of the others nothing is left to close."""
        here = asyncio.get_running_loop()
        for loop, keeper in self._keepers():
            if loop is here:
                await keeper.aclose()
            elif loop.is_running():
                asyncio.run_coroutine_threadsafe(keeper.aclose(), loop)

    def close(self) -> None:
        """Close what can be closed from outside of the loops."""
        for loop, keeper in self._keepers():
            if loop.is_running():
                asyncio.run_coroutine_threadsafe(keeper.aclose(), loop)
            elif not loop.is_closed() and not _inside_a_loop():
                loop.run_until_complete(keeper.aclose())

    async def _keep(self, loop: asyncio.AbstractEventLoop, web: AsyncWeb) -> AsyncGenerator[None]:
        """Hold the client open until the loop ends: `asyncio.run` closes what generators hold."""
        try:
            yield
        finally:
            with self._lock:
                self._made.pop(loop, None)
            await web.aclose()

    def _keepers(self) -> list[tuple[asyncio.AbstractEventLoop, AsyncGenerator[None]]]:
        with self._lock:
            return [(loop, keeper) for loop, (_, keeper) in self._made.items()]


def _inside_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
