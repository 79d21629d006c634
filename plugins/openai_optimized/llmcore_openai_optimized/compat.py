"""`OptimizedOpenAIProvider`: the interface of existing code, implemented with a Core of llmcore."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, get_args

from llmcore.errors import ConfigError, PriceUnknown
from llmcore.types import Secret, TokenCount, Usage
from llmcore_openai_optimized.account import Account, OpenAIOptions, PricingTier
from llmcore_openai_optimized.context_windows import find_window
from llmcore_openai_optimized.counting.models import get_family

if TYPE_CHECKING:
    from llmcore import CacheManager, Core

__all__ = ["OptimizedOpenAIProvider"]

_TEMPERATURE: Final = 0.7
"""The default temperature of existing code.

`_make_parameters` compares by identity with this object, to detect whether the caller passed a temperature.
"""


class OptimizedOpenAIProvider:
    """One model of OpenAI, with the cache, retries and ledger of llmcore.

    Use the object in a `with` statement, or call `close`. Threads may share it. The attributes `model`,
    `enable_cache` and `pricing_tier` may be changed; the next call uses the new values.
    """

    def __init__(  # noqa: PLR0917 - existing code passes all arguments by position
        self,
        api_key: str | None = None,
        model: str = "gpt-5.6-luna",
        enable_cache: bool = True,  # noqa: FBT001, FBT002 - existing code passes it by position
        cache_ttl: float | str | None = 3600,
        cache_backend: str = "file",
        pricing_tier: PricingTier = "standard",
        *,
        base_url: str | None = None,
        cache_dir: str | None = None,
        extra_body: Mapping[str, Any] | None = None,
        **cache_options: Any,
    ) -> None:
        """Read the key, the address and the options; send nothing.

        Args:
            api_key: The key; None means the key of the configuration, or the current OPENAI_API_KEY.
            model: Any model of the server.
            enable_cache: True if equal requests are answered from the cache.
            cache_ttl: Seconds, or text such as "1h"; None means no expiry.
            cache_backend: "file", "memory", or any installed provider.
            pricing_tier: The pricing tier by which costs are computed.
            base_url: The address of an OpenAI-compatible server; None means the current OPENAI_BASE_URL, or OpenAI.
            cache_dir: Folder of the file cache; None means the default folder of llmcore.
            extra_body: Parameters that only some servers know. They are sent with every request.
            cache_options: Further options of the cache provider, such as `url` of "redis".

        Raises:
            ConfigError: The key is missing, or a value is invalid.
            PluginNotFound: The cache provider is not installed.
        """
        key = _check_key(api_key)
        del api_key  # a traceback shows local variables
        self.model = model
        self.pricing_tier = _check_tier(pricing_tier)
        self.enable_cache = enable_cache
        openai = {
            "pricing_tier": pricing_tier,
            "api_key": key,
            "base_url": base_url,
            "extra_body": None if extra_body is None else dict(extra_body),
        }
        cache = {
            "provider": cache_backend,
            "ttl": "never" if cache_ttl is None else cache_ttl,
            cache_backend: _drop_none({"cache_dir": cache_dir, **cache_options}),
        }
        with _load(model, openai, cache) as core:
            options: OpenAIOptions = core.backend("llm", "openai").options
        # Pass the current key and address, because a Core itself reads them only at its first request.
        self._core = _load(model, openai | _pin_account(options), cache)

    def __repr__(self) -> str:
        return f"OptimizedOpenAIProvider(model={self.model!r}, pricing_tier={self.pricing_tier!r})"

    # -- the attributes that existing code reads

    @property
    def model_name(self) -> str:
        """The model's name."""
        return self.model

    @property
    def cache(self) -> CacheManager | None:
        """The cache of the answers; None if `enable_cache` is False."""
        return self._core.cache if self.enable_cache else None

    @property
    def total_input_tokens(self) -> int:
        """Input tokens of the requests that reached the server."""
        return self._core.usage.totals().input_tokens

    @property
    def total_output_tokens(self) -> int:
        """Tokens of the server's answers."""
        return self._core.usage.totals().output_tokens

    @property
    def total_cost(self) -> float:
        """The cost in USD of the calls with a known price."""
        return float(self._core.usage.totals().cost)

    @property
    def request_count(self) -> int:
        """Calls that reached the server."""
        return self._core.usage.totals().calls

    # -- answers

    def generate_completion(
        self, prompt: str, temperature: float = _TEMPERATURE, max_tokens: int | None = None, **parameters: Any
    ) -> str:
        """Return the text of the answer to *prompt*.

        Args:
            prompt: The text of the user message.
            temperature: 0 to 2. The default is not sent to reasoning models.
            max_tokens: Maximum tokens of the answer; sent as `max_completion_tokens` to reasoning models.
            parameters: Further parameters of Chat Completions.

        Raises:
            ProviderError: The request failed, after the configured attempts.
        """
        options = self._make_parameters(temperature, max_tokens, parameters)
        return self._core.llm.generate_completion(prompt, **options)

    async def agenerate_completion(
        self, prompt: str, temperature: float = _TEMPERATURE, max_tokens: int | None = None, **parameters: Any
    ) -> str:
        """See `generate_completion`."""
        options = self._make_parameters(temperature, max_tokens, parameters)
        return await self._core.llm.agenerate_completion(prompt, **options)

    def generate_chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        temperature: float = _TEMPERATURE,
        max_tokens: int | None = None,
        **parameters: Any,
    ) -> str:
        """Return the text of the answer to a conversation; see `generate_completion`."""
        options = self._make_parameters(temperature, max_tokens, parameters)
        return self._core.llm.generate_chat(messages, **options)

    async def agenerate_chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        temperature: float = _TEMPERATURE,
        max_tokens: int | None = None,
        **parameters: Any,
    ) -> str:
        """See `generate_chat`."""
        options = self._make_parameters(temperature, max_tokens, parameters)
        return await self._core.llm.agenerate_chat(messages, **options)

    # -- tokens and costs

    def count_tokens(self, text: str) -> TokenCount:
        """Count the tokens of a text."""
        return self._core.llm.count_tokens(text, model=self._target)

    def count_messages_tokens(self, messages: Sequence[Mapping[str, Any]]) -> TokenCount:
        """Count the tokens of a conversation, as the server does."""
        return self._core.llm.count_tokens(messages, model=self._target)

    def estimate_cost(
        self,
        input_tokens: int,
        output_tokens: int,
        pricing_tier: PricingTier | None = None,
        *,
        cached_tokens: int = 0,
    ) -> float:
        """Return the cost in USD. *cached_tokens* are part of *input_tokens*.

        Args:
            input_tokens: Tokens of the prompt.
            output_tokens: Tokens of the answer.
            pricing_tier: None means the tier of this object.
            cached_tokens: Tokens of the prompt that the server reads from its cache.

        Raises:
            ConfigError: The tier is unknown.
            PriceUnknown: The price of the model in this tier is unknown.
        """
        usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens, cached_tokens=cached_tokens)
        return self._compute_cost(usage, _check_tier(pricing_tier or self.pricing_tier))

    def compare_pricing_tiers(
        self, input_tokens: int, output_tokens: int, cached_tokens: int = 0
    ) -> dict[str, float]:
        """Return `standard_cost`, `batch_cost` and `savings` in USD, and `savings_percent`.

        A price of the configuration applies to all tiers.

        Raises:
            PriceUnknown: The price of the model in one of the tiers is unknown.
        """
        usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens, cached_tokens=cached_tokens)
        standard, batch = self._compute_cost(usage, "standard"), self._compute_cost(usage, "batch")
        savings = standard - batch
        return {
            "standard_cost": standard,
            "batch_cost": batch,
            "savings": savings,
            "savings_percent": 100 * savings / standard if standard else 0.0,
        }

    def estimate_video_cost(
        self,
        avg_input_tokens_per_request: int,
        avg_output_tokens_per_request: int,
        requests_per_video: int,
        pricing_tier: PricingTier | None = None,
    ) -> dict[str, Any]:
        """Return the cost in USD and the tokens of a job with several requests. Raises the errors of `estimate_cost`."""
        tokens = avg_input_tokens_per_request, avg_output_tokens_per_request
        cost = self.estimate_cost(*tokens, pricing_tier)
        return {
            "cost_per_request": cost,
            "cost_per_video": cost * requests_per_video,
            "total_tokens_per_video": sum(tokens) * requests_per_video,
            "requests_per_video": requests_per_video,
            "pricing_tier": pricing_tier or self.pricing_tier,
            "model": self.model,
        }

    # -- statistics, end

    def get_usage_stats(self) -> dict[str, Any]:
        """Return the totals of the calls that reached the server; `cache_stats` has the totals of the cache.

        `total_cost` is in USD and includes only the calls with a known price.
        """
        totals = self._core.usage.totals()
        return {
            "total_input_tokens": totals.input_tokens,
            "total_output_tokens": totals.output_tokens,
            "total_tokens": totals.total_tokens,
            "total_cost": float(totals.cost),
            "request_count": totals.calls,
            "average_tokens_per_request": totals.total_tokens / totals.calls if totals.calls else 0.0,
            "model": self.model,
            "pricing_tier": self.pricing_tier,
            "cache_stats": self._core.cache.get_stats(),
        }

    def reset_stats(self) -> None:
        """Reset the statistics to zero; keep the cache."""
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

    @property
    def _target(self) -> str:
        # The provider is put in front of the name, so that a name in the user's [models] cannot replace the model.
        return f"openai:{self.model}"

    def _make_parameters(
        self, temperature: float, max_tokens: int | None, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        options = {"model": self._target, "cache": self.enable_cache, **parameters}
        known = get_family(self.model)
        reasons = known.reasoning or known.name.startswith("o1-mini")
        if not (reasons and temperature is _TEMPERATURE):
            options["temperature"] = temperature
        if max_tokens is not None:
            options["max_completion_tokens" if reasons else "max_tokens"] = max_tokens
        return options

    def _compute_cost(self, usage: Usage, tier: PricingTier) -> float:
        cost = self._core.llm.price(usage, model=self._target, service_tier=tier)
        if cost is None:
            raise PriceUnknown(
                f"the price of `{self.model}` in the tier `{tier}` is unknown",
                where="model",
                expected="a model and a tier of OpenAI's price list",
                fix=f"llmcore config set 'prices.\"openai:{self.model}\".input' 0.25",
            )
        return float(cost)


def _load(model: str, openai: Mapping[str, Any], cache: Mapping[str, Any]) -> Core:
    """Return a Core with the user's configuration, overridden by the arguments."""
    import llmcore

    # The provider is put in front of the name, because names of fine-tuned models contain colons.
    llm = {"provider": "openai", "model": f"openai:{model}", "openai": _drop_none(openai)}
    return llmcore.load({}, arguments={"llm": llm, "cache": cache})


def _pin_account(options: OpenAIOptions) -> dict[str, Any]:
    """Return the options of account and server, completed from the current environment.

    Raises:
        ConfigError: The key is missing or cannot be sent, or the address is invalid.
    """
    account = Account.from_options(options)
    if account.key is None:
        raise ConfigError(
            f"OpenAI API key is required: {account.key_source} is not set, and api_key= is not given",
            code="LC201",
            where="api_key",
            expected=f"the key in the environment variable {account.key_source}, or api_key=",
            fix=f"export {account.key_source}=sk-...",
        )
    account.validate()
    pinned: dict[str, Any] = {"organization": account.organization, "project": account.project}
    if account.azure_endpoint:
        pinned |= {"azure_endpoint": account.azure_endpoint, "api_version": account.api_version}
    else:
        pinned["base_url"] = account.base_url
    # A token of Azure expires within the hour, so it is not pinned: the Core reads it at its first request.
    if not (account.azure_endpoint and account.bearer):
        pinned["api_key"] = account.key
    return pinned


def _check_key(api_key: object) -> Secret | None:
    """Return the key; None if no key was passed.

    Raises:
        ConfigError: *api_key* is not text, or is the name of a model, which was the first argument in old versions.
    """
    if api_key is None or isinstance(api_key, Secret):
        return api_key
    if not isinstance(api_key, str):
        raise ConfigError(
            f"api_key must be text, got {type(api_key).__name__}", code="LC104", where="api_key"
        )
    if find_window(api_key) is not None:
        raise ConfigError(
            f"api_key must be a key, got the name of the model {api_key}",
            code="LC104",
            where="api_key, the first argument",
            expected="the key, or model= for the model",
            fix=f'OptimizedOpenAIProvider(model="{api_key}")',
        )
    return Secret(api_key) if api_key.strip() else None


def _check_tier(tier: PricingTier) -> PricingTier:
    """Return *tier*; raise `ConfigError` if it is unknown."""
    tiers = get_args(PricingTier)
    if tier in tiers:
        return tier
    raise ConfigError(
        f"Invalid pricing_tier: it must be one of {', '.join(tiers)}, got {tier!r}",
        code="LC104",
        where="pricing_tier",
        expected=", ".join(tiers),
        fix='pricing_tier="standard"',
    )


def _drop_none(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
