"""`OptimizedOpenAIProvider`: the names that existing code of this family calls, over a Core of llmcore."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from llmcore.errors import PriceUnknown
from llmcore.types import Secret, TokenCount, Usage
from llmcore_openai_optimized.account import Account, OpenAIOptions, PricingTier

if TYPE_CHECKING:
    from llmcore import Core

__all__ = ["OptimizedOpenAIProvider"]


class OptimizedOpenAIProvider:
    """Asks one model of OpenAI, with llmcore's cache, retries and books in between.

    Use it with `with`, or call `close`. Threads may share it.
    """

    def __init__(
        self,
        model: str = "gpt-5.6-luna",
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        enable_cache: bool = True,
        cache_ttl: float | str | None = 3600,
        cache_backend: str = "file",
        cache_dir: str | None = None,
        pricing_tier: PricingTier = "standard",
        **cache_options: Any,
    ) -> None:
        """Open it; nothing is sent.

        Args:
            model: Any that the server knows.
            api_key: The key itself; None takes OPENAI_API_KEY.
            base_url: An OpenAI-compatible server; None takes OPENAI_BASE_URL, else OpenAI's own.
            enable_cache: Whether equal questions are answered from the cache.
            cache_ttl: Seconds, or text such as "1h"; None: until the cache is full.
            cache_backend: "file", "memory", or any installed provider.
            cache_dir: Folder of the file cache; None takes llmcore's own among the user's caches.
            pricing_tier: What costs are told by.
            cache_options: More options of the cache's provider, such as `url` of "redis".

        Raises:
            ConfigError: There is no key, or a value does not fit.
            PluginNotFound: No installed plugin offers the cache.
        """
        import llmcore

        key = Secret(api_key) if api_key else None
        del api_key  # a traceback shows local variables
        self.model_name = model
        self.pricing_tier = pricing_tier
        self._cached = enable_cache
        openai = {
            "pricing_tier": pricing_tier,
            "api_key": key,
            "base_url": base_url,
        }
        self._core: Core = llmcore.load(
            {},
            arguments={
                "llm": {"provider": "openai", "model": model, "openai": _given(openai)},
                "cache": {
                    "provider": cache_backend,
                    "ttl": "never" if cache_ttl is None else cache_ttl,
                    cache_backend: _given({"cache_dir": cache_dir, **cache_options}),
                },
            },
        )
        options: OpenAIOptions = self._core.backend("llm", "openai").options
        Account.of(options).signed()

    def __repr__(self) -> str:
        return f"OptimizedOpenAIProvider(model={self.model_name!r}, pricing_tier={self.pricing_tier!r})"

    def generate_completion(self, prompt: str, **parameters: Any) -> str:
        """Return the text of the answer to *prompt*. Parameters are those of Chat Completions.

        Raises:
            ProviderError: The server refused or failed, after the attempts that the configuration allows.
        """
        return self._core.llm.generate_completion(prompt, **self._common(), **parameters)

    async def agenerate_completion(self, prompt: str, **parameters: Any) -> str:
        """See `generate_completion`."""
        return await self._core.llm.agenerate_completion(prompt, **self._common(), **parameters)

    def generate_chat(self, messages: Sequence[Mapping[str, Any]], **parameters: Any) -> str:
        """Return the text of the answer to a conversation. Raises as `generate_completion`."""
        return self._core.llm.generate_chat(messages, **self._common(), **parameters)

    async def agenerate_chat(self, messages: Sequence[Mapping[str, Any]], **parameters: Any) -> str:
        """See `generate_chat`."""
        return await self._core.llm.agenerate_chat(messages, **self._common(), **parameters)

    def count_tokens(self, text: str) -> TokenCount:
        """Count the tokens of a text alone."""
        return self._core.llm.count_tokens(text, **self._model())

    def count_messages_tokens(self, messages: Sequence[Mapping[str, Any]]) -> TokenCount:
        """Count what the server would count for a conversation."""
        return self._core.llm.count_tokens(messages, **self._model())

    def estimate_cost(self, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> float:
        """Return what so many tokens cost in USD. *cached_tokens* are part of *input_tokens*.

        Raises:
            PriceUnknown: Nobody knows what the model costs in this tier.
        """
        usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens, cached_tokens=cached_tokens)
        return self._cost(usage, self.pricing_tier)

    def compare_pricing_tiers(
        self, input_tokens: int, output_tokens: int, cached_tokens: int = 0
    ) -> dict[str, float]:
        """Return `standard_cost`, `batch_cost` and `savings` in USD, and `savings_percent`.

        A price of the configuration is one for all tiers.

        Raises:
            PriceUnknown: Nobody knows what the model costs in one of the two tiers.
        """
        usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens, cached_tokens=cached_tokens)
        standard, batch = self._cost(usage, "standard"), self._cost(usage, "batch")
        savings = standard - batch
        return {
            "standard_cost": standard,
            "batch_cost": batch,
            "savings": savings,
            "savings_percent": 100 * savings / standard if standard else 0.0,
        }

    def get_usage_stats(self) -> dict[str, Any]:
        """Return the totals of the calls that reached the server; answers from the cache are in `cache_stats`.

        `total_cost` is in USD and holds the calls whose price is known.
        """
        totals = self._core.usage.totals()
        return {
            "total_input_tokens": totals.input_tokens,
            "total_output_tokens": totals.output_tokens,
            "total_tokens": totals.total_tokens,
            "total_cost": float(totals.cost),
            "request_count": totals.calls,
            "average_tokens_per_request": totals.total_tokens / totals.calls if totals.calls else 0.0,
            "model": self.model_name,
            "pricing_tier": self.pricing_tier,
            "cache_stats": self._core.cache.get_stats(),
        }

    def reset_stats(self) -> None:
        """Begin to count again at zero; what is cached stays."""
        self._core.usage.reset()
        self._core.cache.clear_stats()

    def close(self) -> None:
        """Close the connections and the cache."""
        self._core.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _common(self) -> dict[str, Any]:
        return {**self._model(), "cache": self._cached}

    def _model(self) -> dict[str, str]:
        # With the provider's name in front, no name in a user's [models] can stand for another model.
        return {"model": f"openai:{self.model_name}"}

    def _cost(self, usage: Usage, tier: PricingTier) -> float:
        cost = self._core.llm.price(usage, **self._model(), service_tier=tier)
        if cost is None:
            raise PriceUnknown(
                f"nobody knows what `{self.model_name}` costs in the tier `{tier}`",
                where="model",
                expected="a model and a tier of OpenAI's price list",
                fix=f"llmcore config set 'prices.\"openai:{self.model_name}\".input' 0.25",
            )
        return float(cost)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
