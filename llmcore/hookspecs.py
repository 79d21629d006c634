"""The hook specifications: each hook that a plugin may implement, for a provider, an observer or a table. Authors start here.

A plugin is a distribution with one small module that imports no SDK, and an entry point that names this module.
The group of the entry point is the kind of provider. The name of the entry point is the name of the
provider::

    [project.entry-points."llmcore.cache"]
    redis = "llmcore_cache_redis.plugin"

The module describes the providers as data::

    from llmcore.hookspecs import Options, Provider, hookimpl

    LLMCORE_API = 1

    class RedisOptions(Options):
        url: str = "redis://localhost:6379/0"

    def create(options):
        from llmcore_cache_redis.provider import RedisCache  # the SDK is imported only if the provider is used
        return RedisCache(options)

    @hookimpl
    def llmcore_cache_providers():
        yield Provider(name="redis", options=RedisOptions, create=create)

The host imports the module only if the configuration names one of its providers. A command may declare its
own table of the configuration, such as `[gateway]`: see `Table`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, dataclass_transform

import msgspec

from llmcore.types import AlertEvent, CallEvent, CallStart

if TYPE_CHECKING:
    from llmcore.contracts.bills import BillReader

__all__ = [
    "API_CHANGES",
    "API_VERSION",
    "COMMON_PARAMETERS",
    "KINDS",
    "OLDEST_API",
    "BillSource",
    "Observer",
    "Options",
    "Provider",
    "Table",
    "hookimpl",
    "hookspec",
]

API_VERSION: Final = 1
"""The version of these hooks.

A plugin's module declares the version for which the plugin was written: `LLMCORE_API = 1`.
"""

OLDEST_API: Final = 1
"""This host loads plugins that were written for this version of the hooks or a later one, up to `API_VERSION`."""

API_CHANGES: Final[Mapping[int, str]] = {}
"""Version of the hooks -> what plugin authors must change for that version, such as "rename X to Y".

Version 1 has no entry, because it is the first version.
"""

KINDS: Final = ("llm", "cache", "storage", "voice", "ledger", "engines")
"""The kinds of provider.

The entry-point group of a kind is `llmcore.<kind>`; the hook is `llmcore_<kind>_providers`, for engines
`llmcore_engine_providers`.
"""

COMMON_PARAMETERS: Final = frozenset(
    {
        "frequency_penalty", "max_tokens", "presence_penalty", "response_format", "seed", "stop", "temperature",
        "tool_choice", "tools", "top_p",
    }
)  # fmt: skip
"""The parameters that a language model accepts if its `Provider` does not list any."""

if TYPE_CHECKING:
    import pluggy

    hookspec = pluggy.HookspecMarker("llmcore")
    hookimpl = pluggy.HookimplMarker("llmcore")

else:

    def hookspec(function: Any = None, **options: Any) -> Any:
        """Mark a hook, as `pluggy.HookspecMarker("llmcore")` does."""
        if function is None or options:
            return _load_marker("HookspecMarker")(function, **options)
        function.llmcore_spec = {
            "firstresult": False,
            "historic": False,
            "warn_on_impl": None,
            "warn_on_impl_args": None,
        }
        return function

    def hookimpl(function: Any = None, **options: Any) -> Any:
        """Mark an implementation of a hook, as `pluggy.HookimplMarker("llmcore")` does."""
        if function is None or options:
            return _load_marker("HookimplMarker")(function, **options)
        function.llmcore_impl = {}  # pluggy adds its defaults
        return function

    def _load_marker(name: str) -> Any:
        import pluggy  # lazy: importing pluggy and inspect takes longer than a chat that the cache answers

        return getattr(pluggy, name)("llmcore")


if TYPE_CHECKING:

    @dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
    class Options:
        """The class below, for type checkers only: this variant tells them that every subclass is frozen."""

        __struct_fields__: ClassVar[tuple[str, ...]]

        def __init_subclass__(cls, *, frozen: bool = True, kw_only: bool = True) -> None: ...

else:

    class Options(msgspec.Struct, frozen=True, kw_only=True):
        """Base class of a provider's options. Each annotated field is one key of the table `[kind.name]`.

        A field has a plain type, `pathlib.Path`, or a type of `llmcore.types`: `Duration` ("90s"), `Size` ("64MB") or
        `Secret` ("env:NAME"). A relative path in a configuration file is resolved from the folder of that file. A path
        from a dict, an environment variable or a default stays relative. A frozen dataclass may be used in place of
        this class.
        """


if TYPE_CHECKING:
    from typing_extensions import TypeVar

    OptionsT = TypeVar("OptionsT", default=Any)
    MadeT_co = TypeVar("MadeT_co", covariant=True, default=Any)
else:
    from typing import TypeVar

    OptionsT = TypeVar("OptionsT")  # type variables with defaults need Python 3.13
    MadeT_co = TypeVar("MadeT_co", covariant=True)


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table of the configuration that a plugin declares, such as `[gateway]` for the command `gateway`.

    The host checks the table against `options`; `core.table("gateway")` returns it as an instance of
    `options`.
    """

    name: str
    """The name of the table in the configuration: lower case, digits, underscores."""
    options: type[Options]
    """The class whose fields are the keys of the table."""


class BillSource(msgspec.Struct, frozen=True, kw_only=True):
    """The source of a vendor's bill, for `llmcore usage reconcile`."""

    table: Table
    """The table with the admin key, such as `[openai_bill]`. The plugin also declares it by `llmcore_tables`.

    Only code that reads the bill needs the table. Everything else works without the admin key.
    """
    create: Callable[[Any], BillReader]
    """A function that takes the checked options of the table and returns the reader.

    The reader needs no key until `fetch` is called.
    """


class Provider(msgspec.Struct, Generic[OptionsT, MadeT_co], frozen=True, kw_only=True):
    """One provider that a plugin offers, with the facts that the host needs before the first call.

    `Provider[MyOptions, LLMProvider]` lets type checkers check `create` against the options class and the
    Protocol.
    """

    name: str
    """The name of the provider in the configuration: lower case, digits, underscores."""
    create: Callable[[OptionsT], MadeT_co]
    """A function that takes the checked options, imports the SDK and returns the provider.

    The host calls the function at the first use of the provider.
    """
    options: type[OptionsT] = Options  # type: ignore[assignment]  # for a provider without options
    """The class whose fields are the keys of the table `[kind.name]`.

    Give each field a default where possible.
    """
    parameters: frozenset[str] = COMMON_PARAMETERS
    """llm: the parameters that `chat(..., name=value)` may send; the host refuses other parameters before anything is sent.

    If `extra_body` is listed, `chat(..., extra_body={...})` adds any other parameter to
    `ChatRequest.parameters`, and a provider's option `extra_body` (a dict) adds its parameters to every call.
    """
    apis: frozenset[str] | Callable[[OptionsT], frozenset[str]] = frozenset({"chat"})
    """llm: the APIs whose requests the provider accepts: "chat", "responses", "messages"; or a function that takes the checked
    options and returns the APIs.

    The host translates requests of other APIs.
    """
    default_model: str | None = "default"
    """llm: the model that is used if the configuration does not name one; None if the user must name a model."""
    offline: Callable[[OptionsT], object] | None = None
    """A function that takes the checked options and returns an object that needs no SDK, key or network.

    llm: the object counts tokens and knows prices. voice: the object is a `VoiceOffline`. None if the host must
    create the provider and ask the provider itself.
    """
    identity: Callable[[OptionsT], Mapping[str, str]] | None = None
    """llm: a function that returns the facts outside of the request that can change the answer, such as address and account.

    The result is part of the cache key. None means all options, which is always correct but causes unnecessary misses.
    """
    owns_model: Callable[[str], bool] | None = None
    """llm: a function that returns whether a whole name with a colon, such as "llama3.2:1b", is a model.

    The host calls the function only if `[llm] provider` names this provider. If this field is None,
    the part before the colon is always the name of a provider.
    """
    known_models: Callable[[Mapping[str, Any]], Iterable[str]] | None = None
    """llm, voice: a function that returns the names of the vendor's models.

    The host refuses a misspelt name before it sends a request. The function takes the table `[kind.name]` as written, before references such as "env:NAME" are resolved.
    If the table names another server, return no names: that server may have other models. The function must be fast,
    because the host calls it while it loads the configuration.
    """
    bill: BillSource | None = None
    """llm: the reports of the vendor on usage and costs, which `llmcore usage reconcile` compares with the ledger."""


class Observer:
    """Base class of an observer, which receives calls and alerts but cannot change or stop them.

    An observer that raises an exception is disabled.
    """

    receives_content: ClassVar[bool] = False
    """True if this observer receives prompts and answers, in `CallEvent.request` and `CallEvent.reply`."""

    def on_start(self, call: CallStart) -> Any:
        """Handle the start of a call.

        The returned value becomes `CallEvent.start` when the call ends; every call ends with a `CallEvent`.
        Runs in the caller's thread, so it must be fast. If the cache answers, the `CallEvent` follows at
        once.
        """

    def get_headers(self, start: Any) -> Mapping[str, str]:  # noqa: ARG002 - subclasses use the parameter
        """Return HTTP headers for the requests of a call, such as `traceparent`.

        *start* is the value that `on_start` returned for the call. Providers send these headers if they call
        `llmcore.support.sending.get_headers`.
        """
        return {}

    def on_call(self, event: CallEvent) -> None:
        """Handle the end of a call. Runs in the caller's thread, so it must be fast."""

    def on_alert(self, event: AlertEvent) -> None:
        """Handle an alert: the spending of a budget has reached a fraction in `alert_at`, or is unusually high today.

        Only one process receives the alert, once per period. Must be fast.
        """


@hookspec
def llmcore_llm_providers() -> Iterable[Provider]:
    """Offer language models.

    `create` returns an object that implements `llmcore.contracts.LLMProvider` or its async variant.
    """
    return ()


@hookspec
def llmcore_cache_providers() -> Iterable[Provider]:
    """Offer caches.

    `create` returns an object that implements `llmcore.contracts.CacheProvider` or its async variant.
    """
    return ()


@hookspec
def llmcore_storage_providers() -> Iterable[Provider]:
    """Offer storages.

    `create` returns an object that implements `llmcore.contracts.StorageProvider` or its async variant.
    """
    return ()


@hookspec
def llmcore_voice_providers() -> Iterable[Provider]:
    """Offer voices.

    `create` returns an object that implements `llmcore.contracts.VoiceProvider` or its async variant.
    """
    return ()


@hookspec
def llmcore_ledger_providers() -> Iterable[Provider]:
    """Offer ledgers. `create` returns an object that implements `llmcore.contracts.LedgerProvider`."""
    return ()


@hookspec
def llmcore_engine_providers() -> Iterable[Provider]:
    """Offer engines, chosen by `[batch] engine = "name"`.

    `create` returns an object that implements `llmcore.contracts.EngineProvider`.
    """
    return ()


@hookspec
def llmcore_observers() -> Iterable[Provider]:
    """Offer observers, chosen by `[observers] use = ["name"]`. `create` returns an `Observer`."""
    return ()


@hookspec
def llmcore_tables() -> Iterable[Table]:
    """Declare tables of the configuration.

    For each table, the distribution also has an entry point with the same name in the group `llmcore.tables`.
    """
    return ()
