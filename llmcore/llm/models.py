"""Which backend and model a name in code means."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from llmcore.calls.backend import Backend
from llmcore.errors import BadRequest, ConfigError, PluginError
from llmcore.llm.countable import Countable, body_of, countable
from llmcore.llm.key import STATEFUL, KeyMaker, identity_of
from llmcore.llm.request import checked_parameters
from llmcore.types import ChatRequest, TokenCount

__all__ = ["Models", "Target"]

_MOST: Final = 1024
"""Names that are remembered at a time."""


class Opener(Protocol):
    """Gives the backend of a provider's name."""

    def __call__(self, name: str) -> Backend:
        """Return the backend; the same one for the same name."""
        ...


class Target:
    """One model of one backend."""

    __slots__ = ("_key", "_keys", "backend", "model")

    def __init__(self, backend: Backend, model: str, keys: Callable[[str | None], KeyMaker]) -> None:
        self.backend = backend
        self.model = model
        self._keys = keys
        self._key: Callable[[ChatRequest], str] | None = None
        """Makes the keys of the configured namespace, from the first one on."""

    def checked(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return *parameters* as this backend takes them, or raise `BadRequest`."""
        return checked_parameters(parameters, self.backend.entry)

    def key(self, request: ChatRequest, namespace: str | None) -> str | None:
        """Return the request's key in the cache; None where the server's own state decides the answer."""
        if not STATEFUL.isdisjoint(request.parameters):
            return None
        if namespace:
            return self._keys(namespace).key(request)
        if self._key is None:
            self._key = self._keys(None).key
        return self._key(request)


class Models:
    """Resolves names of models: `provider:model`, a name of `[models]`, or a model of the configured provider."""

    def __init__(
        self,
        opener: Opener,
        *,
        provider: str,
        model: str | None,
        aliases: Mapping[str, Sequence[str]],
        known_providers: Sequence[str],
        namespace: str,
    ) -> None:
        self._open = opener
        self._provider = provider
        self._model = model
        self._aliases = aliases
        self._known = frozenset(known_providers) | {provider}
        self._namespace = namespace
        self._lock = threading.Lock()
        self._targets: dict[str | None, tuple[Target, ...]] = {}
        self._keys: dict[tuple[str, str], KeyMaker] = {}

    def targets(self, name: str | None) -> tuple[Target, ...]:
        """Return what *name* means, in the order in which it is to be tried; None is the configured model.

        Raises:
            ConfigError: Nothing says which model; or an option of its provider does not fit.
            PluginNotFound: Nobody offers the provider.
        """
        try:
            return self._targets[name]
        except KeyError:
            pass
        if name is not None and not isinstance(name, str):
            raise BadRequest(f"model={name!r} is no name", code="LC308", expected="a text, or None")
        with self._lock:
            if len(self._targets) >= _MOST:
                self._targets.clear()
            spelt = self._aliases.get(name, (name,)) if name else (self._model,)
            return self._targets.setdefault(name, tuple(self._target(each) for each in self._flat(spelt)))

    def backend(self, provider: str | None) -> Backend:
        """Return the backend of *provider*; None is the configured one."""
        return self._open(provider or self._provider)

    def count(self, content: Any, model: str | None, given: Mapping[str, Any]) -> TokenCount:
        """Count the tokens of *content* for *model*."""
        from llmcore.contracts import BodyCounter  # here, since protocols are dear to make

        body = body_of(content, given)
        wanted = None if body else countable(content, given)
        target = self.targets(model or (body or {}).get("model"))[0]
        counter = target.backend.offline
        if body and isinstance(counter, BodyCounter):
            return counter.count_body({**body, "model": target.model})
        return _counted(target, wanted or countable(content, given))

    def _flat(self, names: Sequence[str | None]) -> list[str | None]:
        """Follow aliases that name aliases; the configuration has checked that they end."""
        flat: list[str | None] = []
        for name in names:
            if name is not None and name in self._aliases:
                flat.extend(self._flat(self._aliases[name]))
            else:
                flat.append(name)
        return flat

    def _target(self, name: str | None) -> Target:
        provider, _, model = (name or "").partition(":")
        if provider not in self._known:  # a model may have colons of its own: ft:gpt-4o:org
            provider, model = self._provider, name or ""
        backend = self._open(provider)
        model = model or backend.entry.default_model or ""
        if not model:
            raise ConfigError(
                f"no model is configured for the llm provider `{provider}`",
                code="LC112",
                where="[llm] model",
                expected="the name of a model",
                fix="llmcore config set llm.model NAME",
            )
        return Target(backend, model, functools.partial(self._key_maker, backend))

    def _key_maker(self, backend: Backend, namespace: str | None) -> KeyMaker:
        namespace = namespace or self._namespace
        found = self._keys.get((backend.name, namespace))
        if found is None:
            if len(self._keys) >= _MOST:
                self._keys.clear()
            identify = backend.entry.identity or identity_of
            found = KeyMaker(provider=backend.name, identity=identify(backend.options), namespace=namespace)
            self._keys[backend.name, namespace] = found
        return found


def _counted(target: Target, wanted: Countable) -> TokenCount:
    """Count what is a text, or as good as a chat."""
    from llmcore.contracts import TokenCounter

    counter = target.backend.offline
    if not isinstance(counter, TokenCounter):
        raise PluginError(
            f"the llm provider `{target.backend.name}` cannot count tokens",
            expected="a provider with the ability TokenCounter",
        )
    if wanted.text is not None:
        return counter.count_tokens(wanted.text, target.model)
    request = ChatRequest(model=target.model, messages=wanted.messages or (), parameters=wanted.parameters)
    counted = counter.count_tokens(request, target.model)
    return counted if wanted.chat else TokenCount(counted, exact=False)
