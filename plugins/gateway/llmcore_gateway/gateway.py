"""The objects that all requests of a gateway share: the Core, the options, and the names of models."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from llmcore.support.host_header import is_loopback
from llmcore_gateway.access import find_hosts
from llmcore_gateway.error_answers import Refused
from llmcore_gateway.http_messages import Answer, Caller
from llmcore_gateway.model_names import ModelNames
from llmcore_gateway.options import GatewayOptions

if TYPE_CHECKING:
    from llmcore import Core

__all__ = ["Gateway", "find_model_names"]


class _UseCounter:
    """Counts the blocks `with counter:` in progress, and waits for their end."""

    def __init__(self) -> None:
        self._count = 0
        self._unused: asyncio.Future[None] | None = None

    def __enter__(self) -> None:
        self._count += 1

    def __exit__(self, *_: object) -> None:
        self._count -= 1
        if not self._count and self._unused is not None and not self._unused.done():
            self._unused.set_result(None)

    async def wait(self) -> None:
        """Wait until no block is in progress."""
        if self._count:
            self._unused = asyncio.get_running_loop().create_future()
            await self._unused


class Gateway:
    """A Core and the options with which it is served."""

    def __init__(self, core: Core, options: GatewayOptions | None = None) -> None:
        self.core = core
        self.options: GatewayOptions = core.table("gateway") if options is None else options
        self.hosts = find_hosts(self.options)
        self.is_exposed = not is_loopback(self.options.host)
        """True if other machines can reach the gateway, so that every request needs a key."""
        self.in_use = _UseCounter()
        """Counts the requests in progress, so that the Core is not closed while a request uses it."""
        self._page_turn = asyncio.Lock()
        """Held while a page of the dashboard is made, because each page reads many rows of the ledger."""
        self.models = find_model_names(core, self.options)
        for provider in self._list_providers():
            _ = core.backend("llm", provider).options  # raises an error for an invalid option

    async def wait_until_unused(self) -> None:
        """Wait until no request uses this gateway. Replace the gateway first, so that new requests use its successor."""
        await self.in_use.wait()

    async def make_page(self, query: str, headers: Mapping[str, str], caller: Caller) -> Answer:
        """Return the dashboard. A caller with a key sees only its own calls and budgets.

        Raises:
            Refused: The dashboard is not installed.
        """
        try:
            from llmcore_dashboard import answer_request
        except ModuleNotFoundError:
            raise Refused(
                404,
                "not_found_error",
                "the page needs llmcore-dashboard, which is not installed",
                code="unknown_url",
            ) from None
        async with self._page_turn:
            page = await asyncio.to_thread(answer_request, self.core, query, headers, user=caller.user)
        return Answer(page.status, page.body, page.headers, page.content_type)

    def warm(self) -> None:
        """Create the configured language models, which imports their SDKs.

        Raises:
            LLMCoreError: A language model cannot be created.
        """
        for provider in self._list_providers():
            _ = self.core.backend("llm", provider).provider

    def _list_providers(self) -> set[str]:
        """Return the providers of the configured model and its fallbacks."""
        return {name.partition(":")[0] for name in self.core.llm.resolve()}


def find_model_names(core: Core, options: GatewayOptions) -> ModelNames:
    """Return the models that *core* serves with *options*. This works without the API keys of the vendors."""
    settings = core.settings
    configured = core.llm.resolve()
    defaults = [*settings.models, *configured, *(name.partition(":")[2] for name in configured)]
    if settings.llm.model:
        defaults.insert(0, settings.llm.model)
    return ModelNames(options.models, defaults, settings.llm.model or configured[0])
