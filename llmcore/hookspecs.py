"""The hooks that a plugin implements: the first page a plugin author reads.

A plugin is a distribution with one light module, which imports no SDK, and an entry point that leads to it. The
group says the kind, the entry's name is the provider's name::

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

The host imports the module only where the configuration names one of its providers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, dataclass_transform

import msgspec
import pluggy

from llmcore.types import AlertEvent, CallEvent

__all__ = [
    "API_VERSION",
    "COMMON_PARAMETERS",
    "KINDS",
    "Observer",
    "Options",
    "Provider",
    "hookimpl",
    "hookspec",
]

API_VERSION: Final = 1
"""The version of these hooks. A plugin's module says the one it was built for: `LLMCORE_API = 1`."""

KINDS: Final = ("llm", "cache", "storage", "voice")
"""Kinds of provider; the entry-point group of each is `llmcore.<kind>`, its hook `llmcore_<kind>_providers`."""

COMMON_PARAMETERS: Final = frozenset(
    {
        "frequency_penalty", "max_tokens", "presence_penalty", "response_format", "seed", "stop", "temperature",
        "tool_choice", "tools", "top_p",
    }
)  # fmt: skip
"""What `chat` lets through to a language model that declares no parameters of its own."""

hookspec = pluggy.HookspecMarker("llmcore")
hookimpl = pluggy.HookimplMarker("llmcore")


if TYPE_CHECKING:

    @dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
    class Options:
        """See below; here type checkers are told that every subclass is frozen without saying so."""

        __struct_fields__: ClassVar[tuple[str, ...]]

        def __init_subclass__(cls, *, frozen: bool = True, kw_only: bool = True) -> None: ...

else:

    class Options(msgspec.Struct, frozen=True, kw_only=True):
        """Base of a provider's options: one annotated field for each key of its table `[kind.name]`.

        Besides plain types, `Duration` ("90s"), `Size` ("64MB") and `Secret` ("env:NAME") of `llmcore.types` are
        understood, and `pathlib.Path`: a relative one counts from the folder of the file that says it, as does everything
        else in that file; from a dict, a variable or as a default it stays relative. A frozen dataclass does as well.
        """


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """One backend on offer: what the host must know of it before it is used."""

    name: str
    """What users write in the configuration: lower case, digits, underscores."""
    create: Callable[[Any], object]
    """Takes the checked options and returns the provider; imports the SDK. Called at the first use."""
    options: type = Options
    """The structure that the table `[kind.name]` is checked against; each field has a default, if it can."""
    parameters: frozenset[str] = COMMON_PARAMETERS
    """llm: what `chat(..., name=value)` may pass on the wire; anything else is refused before the network."""
    default_model: str | None = "default"
    """llm: the model where the configuration names none; None makes it a must."""
    offline: Callable[[Any], object] | None = None
    """Takes the checked options and returns what needs no SDK, key or network.

    llm: token counts and prices. voice: what keeps `VoiceOffline`. None: the provider itself does it, once it is created.
    """
    identity: Callable[[Any], Mapping[str, str]] | None = None
    """llm: what, besides the request, decides the answer: address, account. It goes into the cache's key.

    None takes every option, which is never wrong and misses more often than it must.
    """


class Observer:
    """Base of an observer: told of calls and alerts, it cannot change or stop one. One that raises is reported once."""

    def on_call(self, event: CallEvent) -> None:
        """Hear that a call has ended. Called on the caller's thread: be quick."""

    def on_alert(self, event: AlertEvent) -> None:
        """Hear that a budget has come to one of its `alert_at`, once a period among all processes. Be quick, too."""


@hookspec
def llmcore_llm_providers() -> Iterable[Provider]:
    """Offer language models. `create` returns what keeps `llmcore.contracts.LLMProvider` or its async twin."""
    return ()


@hookspec
def llmcore_cache_providers() -> Iterable[Provider]:
    """Offer caches. `create` returns what keeps `llmcore.contracts.CacheProvider` or its async twin."""
    return ()


@hookspec
def llmcore_storage_providers() -> Iterable[Provider]:
    """Offer storages. `create` returns what keeps `llmcore.contracts.StorageProvider` or its async twin."""
    return ()


@hookspec
def llmcore_voice_providers() -> Iterable[Provider]:
    """Offer voices. `create` returns what keeps `llmcore.contracts.VoiceProvider` or its async twin."""
    return ()


@hookspec
def llmcore_observers() -> Iterable[Provider]:
    """Offer observers, chosen by `[observers] use = ["name"]`. `create` returns an `Observer`."""
    return ()
