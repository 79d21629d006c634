"""The hooks that a plugin implements, for a provider, an observer or a table: the first page a plugin author reads.

A plugin is a distribution with one light module, which imports no SDK, and an entry point that leads to it. The
group is the kind, the entry's name is the provider's name::

    [project.entry-points."llmcore.cache"]
    redis = "llmcore_cache_redis.plugin"

The module offers its providers as data::

    from llmcore.hookspecs import Options, Provider, hookimpl

    LLMCORE_API = 1

    class RedisOptions(Options):
        url: str = "redis://localhost:6379/0"

    def create(options):
        from llmcore_cache_redis.provider import RedisCache    # the SDK is imported here, when it is needed
        return RedisCache(options)

    @hookimpl
    def llmcore_cache_providers():
        yield Provider(name="redis", options=RedisOptions, create=create)

The host imports the module only if the configuration names one of its providers. A command may declare a table of the
configuration for itself, such as `[gateway]`: see `Table`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, dataclass_transform

import msgspec

from llmcore.types import AlertEvent, CallEvent, CallStart

__all__ = [
    "API_VERSION",
    "COMMON_PARAMETERS",
    "KINDS",
    "Observer",
    "Options",
    "Provider",
    "Table",
    "hookimpl",
    "hookspec",
]

API_VERSION: Final = 1
"""The version of these hooks. A plugin's module declares the one it was built for: `LLMCORE_API = 1`."""

KINDS: Final = ("llm", "cache", "storage", "voice")
"""Kinds of provider; the entry-point group of each is `llmcore.<kind>`, its hook `llmcore_<kind>_providers`."""

COMMON_PARAMETERS: Final = frozenset(
    {
        "frequency_penalty", "max_tokens", "presence_penalty", "response_format", "seed", "stop", "temperature",
        "tool_choice", "tools", "top_p",
    }
)  # fmt: skip
"""The parameters of a language model that declares none."""

if TYPE_CHECKING:
    import pluggy

    hookspec = pluggy.HookspecMarker("llmcore")
    hookimpl = pluggy.HookimplMarker("llmcore")

else:

    def hookspec(function: Any = None, **options: Any) -> Any:
        """Mark a hook, as `pluggy.HookspecMarker("llmcore")`."""
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
        """Mark an implementation of a hook, as `pluggy.HookimplMarker("llmcore")`."""
        if function is None or options:
            return _load_marker("HookimplMarker")(function, **options)
        function.llmcore_impl = {}  # pluggy adds its defaults
        return function

    def _load_marker(name: str) -> Any:
        import pluggy  # lazy: with inspect, it costs more than a cached answer

        return getattr(pluggy, name)("llmcore")


if TYPE_CHECKING:

    @dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
    class Options:
        """See below. This variant declares to type checkers that every subclass is frozen."""

        __struct_fields__: ClassVar[tuple[str, ...]]

        def __init_subclass__(cls, *, frozen: bool = True, kw_only: bool = True) -> None: ...

else:

    class Options(msgspec.Struct, frozen=True, kw_only=True):
        """Base of a provider's options: one annotated field for each key of its table `[kind.name]`.

        Besides plain types, `Duration` ("90s"), `Size` ("64MB") and `Secret` ("env:NAME") of `llmcore.types` are
        understood, and `pathlib.Path`: a relative one counts from the folder of the file that says it, as does everything
        else in that file; from a dict, a variable or as a default it stays relative. A frozen dataclass does as well.
        """


if TYPE_CHECKING:
    from typing_extensions import TypeVar

    OptionsT = TypeVar("OptionsT", default=Any)
    MadeT_co = TypeVar("MadeT_co", covariant=True, default=Any)
else:
    from typing import TypeVar

    OptionsT = TypeVar("OptionsT")  # defaults of type variables need Python 3.13
    MadeT_co = TypeVar("MadeT_co", covariant=True)


class Provider(msgspec.Struct, Generic[OptionsT, MadeT_co], frozen=True, kw_only=True):
    """One provider that a plugin offers: the facts that the host needs before it is used.

    `Provider[MyOptions, LLMProvider]` lets type checkers compare `create` with the options and with the Protocol.
    """

    name: str
    """Its name in the configuration: lower case, digits, underscores."""
    create: Callable[[OptionsT], MadeT_co]
    """Takes the checked options and returns the provider; imports the SDK. Called at the first use."""
    options: type[OptionsT] = Options  # type: ignore[assignment]  # for a provider without options
    """The structure that the table `[kind.name]` is checked against; each field has a default, if it can."""
    parameters: frozenset[str] = COMMON_PARAMETERS
    """llm: the parameters that `chat(..., name=value)` may send; others are refused before anything is sent.

    With `extra_body` among them, `chat(..., extra_body={...})` adds any other parameter to `ChatRequest.parameters`, and an
    option `extra_body` of the provider (a dict) holds those of every call.
    """
    apis: frozenset[str] = frozenset({"chat"})
    """llm: the APIs whose requests the provider speaks: "chat", "responses", "messages". The host translates those of other APIs."""
    default_model: str | None = "default"
    """llm: the model if the configuration names none; None makes the setting required."""
    offline: Callable[[OptionsT], object] | None = None
    """Takes the checked options and returns an object that needs no SDK, key or network.

    llm: token counts and prices. voice: a `VoiceOffline`. None: the provider itself does it, once it is created.
    """
    identity: Callable[[OptionsT], Mapping[str, str]] | None = None
    """llm: everything else that can change the answer, such as address and account. It is part of the cache key.

    None uses every option, which is always correct but causes more misses than necessary.
    """
    owns_model: Callable[[str], bool] | None = None
    """llm: takes a name with a colon, such as "llama3.2:1b", and returns whether it is a model of this provider as it stands.

    Asked only while this provider is the one of `[llm] provider`. None: what is before the colon is always a provider.
    """
    known_models: Callable[[Mapping[str, Any]], Iterable[str]] | None = None
    """llm, voice: names the models at the vendor's own address, so that a misspelt one is refused before it is sent.

    Takes the table `[kind.name]` as it was written, references unresolved, and returns nothing where it leads to another
    server, which may name its models as it likes. Must be cheap: it is asked when the configuration is loaded.
    """


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """One table of the configuration that a plugin declares for itself, such as `[gateway]` of a command.

    The host checks the table against `options`; `core.table("gateway")` returns it as an instance of `options`.
    """

    name: str
    """Its name in the configuration: lower case, digits, underscores."""
    options: type[Options]
    """The structure that the table is checked against."""


class Observer:
    """Base of an observer: it receives calls and alerts, and cannot change or stop them. If it raises, it is disabled."""

    receives_content: ClassVar[bool] = False
    """Whether `CallEvent.request` and `CallEvent.reply` are set for this observer: prompts and answers."""

    def on_start(self, call: CallStart) -> Any:
        """Handle the start of a call. The result is `start` in its event, which follows for every call.

        Runs in the caller's thread, so it must be fast. For an answer from the cache, the event follows at once.
        """

    def on_call(self, event: CallEvent) -> None:
        """Handle the end of a call. Runs in the caller's thread, so it must be fast."""

    def on_alert(self, event: AlertEvent) -> None:
        """Handle a budget that reached one of its `alert_at`, once a period among all processes. Must be fast."""


@hookspec
def llmcore_llm_providers() -> Iterable[Provider]:
    """Offer language models. `create` returns an object that implements `llmcore.contracts.LLMProvider` or its async variant."""
    return ()


@hookspec
def llmcore_cache_providers() -> Iterable[Provider]:
    """Offer caches. `create` returns an object that implements `llmcore.contracts.CacheProvider` or its async variant."""
    return ()


@hookspec
def llmcore_storage_providers() -> Iterable[Provider]:
    """Offer storages. `create` returns an object that implements `llmcore.contracts.StorageProvider` or its async variant."""
    return ()


@hookspec
def llmcore_voice_providers() -> Iterable[Provider]:
    """Offer voices. `create` returns an object that implements `llmcore.contracts.VoiceProvider` or its async variant."""
    return ()


@hookspec
def llmcore_observers() -> Iterable[Provider]:
    """Offer observers, chosen by `[observers] use = ["name"]`. `create` returns an `Observer`."""
    return ()


@hookspec
def llmcore_tables() -> Iterable[Table]:
    """Declare tables of the configuration; each name is also an entry point of the group `llmcore.tables`."""
    return ()
