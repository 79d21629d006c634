"""Resolve the name of a model to backends and models."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from llmcore import forks
from llmcore.calls.backend import Backend
from llmcore.calls.backend_call import call_offline
from llmcore.calls.options import make_identity, options_to_dict
from llmcore.calls.text_arguments import check_model
from llmcore.config.model_names import ModelNames
from llmcore.config.typos import find_typo
from llmcore.errors import BadRequest, ConfigError, LLMCoreError, PluginError, PluginNotFound
from llmcore.llm.key import KeyMaker, is_stateful
from llmcore.llm.request import EXTRA_BODY, check_parameter_names, normalise_extra_body
from llmcore.support.errors import raise_unchained
from llmcore.types import ChatRequest, EmbeddingRequest, TokenCount

if TYPE_CHECKING:
    from llmcore.contracts import TokenCounter
    from llmcore.llm.countable import Countable

__all__ = ["Models", "Target", "count_request"]

_MOST: Final = 1024
"""Maximum number of resolved names, and of key makers, to keep in memory."""


class _Opener(Protocol):
    """A function that returns the backend for a provider's name."""

    def __call__(self, name: str) -> Backend:
        """Return the backend; the same name always returns the same backend."""
        ...


class Target:
    """One model of one backend."""

    __slots__ = ("_extra_body", "_find_key_maker", "_make_key", "backend", "model", "path")

    def __init__(
        self,
        backend: Backend,
        model: str,
        keys: Callable[[str | None], KeyMaker],
        path: tuple[str, ...] | None = None,
    ) -> None:
        self.backend = backend
        self.model = model
        self.path = path
        """The setting that names the model; None if the caller named the model."""
        self._extra_body: Mapping[str, Any] | None = None
        """The configured `extra_body`; None until the first request.

        Reading the options may need an API key, but resolving the name of a model must work without one.
        """
        self._find_key_maker = keys
        self._make_key: Callable[[ChatRequest | EmbeddingRequest], str] | None = None
        """Makes keys in the configured namespace; set at the first use."""

    def check(self, names: Mapping[str, Any]) -> None:
        """Raise `BadRequest` for the first of *names* that is not a declared parameter of this backend."""
        check_parameter_names(names, self.backend.entry)

    def merge_parameters(self, given: dict[str, Any], extra: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the parameters to send: the configured `extra_body`, *given*, and the call's *extra*.

        If two of these have a parameter of the same name, the later one in this list counts. The cache key, the budgets and the provider treat
        parameters of `extra_body` like all others.

        Raises:
            ConfigError: An option of the provider is not valid, or contains a reference that cannot be resolved.
        """
        own = self._extra_body
        if own is None:
            own = self._extra_body = _read_extra_body(self.backend)
        return {**own, **given, **(extra or {})} if own or extra else given

    def make_key(self, request: ChatRequest | EmbeddingRequest, namespace: str | None) -> str | None:
        """Return the cache key of *request*; None if the answer depends on data that the server stores."""
        if is_stateful(request):
            return None
        if namespace:
            return self._find_key_maker(namespace).make_key(request)
        if self._make_key is None:
            self._make_key = self._find_key_maker(None).make_key
        return self._make_key(request)


class Models:
    """Resolves names of models: `provider:model`, a name of `[models]`, or a model of the configured provider.

    `x:y` means the provider or instance `x`, unless the configured provider owns such names, as Ollama owns
    `llama3.2:1b`. For other models with a colon in the name, write the provider: `x:name:tag`.
    """

    def __init__(
        self,
        opener: _Opener,
        *,
        provider: str,
        model: str | None,
        aliases: Mapping[str, Sequence[str]],
        names: ModelNames,
        namespace: str,
    ) -> None:
        self._open = opener
        self._provider = provider
        self._model = model
        self._aliases = aliases
        self._names = names
        self._namespace = namespace
        self._lock = forks.lock()
        self._targets: dict[str | None, tuple[Target, ...]] = {}
        """Name -> the targets that were found for it earlier."""
        self._key_makers: dict[tuple[str, str], KeyMaker] = {}

    def __repr__(self) -> str:
        return self._provider if self._model is None else f"{self._provider}:{self._model}"

    def find_targets(self, name: str | None) -> tuple[Target, ...]:
        """Return the models of the alias or name *name*, in fallback order.

        If *name* is None, return the configured model.

        Raises:
            BadRequest: The name is a misspelling of a known name.
            ConfigError: No model is configured, or an option of the provider is not valid.
            PluginNotFound: No plugin offers the provider.
        """
        try:
            return self._targets[name]
        except KeyError:
            pass
        found = self._resolve(name)
        for target in found:
            nearest_name = self._names.find_typo(target.backend.name, target.model)
            if nearest_name is not None:
                raise _make_model_error(target, nearest_name, bare=target.model == name)
        with self._lock:
            if len(self._targets) >= _MOST:
                self._targets.clear()
            return self._targets.setdefault(name, found)

    def has_name(self, name: str) -> bool:
        """Return whether *name* is a name of `[models]`."""
        return name in self._aliases

    def get_backend(self, provider: str | None) -> Backend:
        """Return the backend of *provider*. If *provider* is None, return the configured backend."""
        return self._open(provider or self._provider)

    def count(self, content: Any, model: str | None, given: Mapping[str, Any]) -> TokenCount:
        """Count the tokens of *content* for *model*."""
        from llmcore.contracts import BodyCounter  # imported here: creating protocols is slow
        from llmcore.llm.countable import find_body, make_countable

        body = find_body(content, given)
        wanted = None if body else make_countable(content, given)
        # use the first model, because a request that is only counted has no fallback
        target = self._resolve(model or (body or {}).get("model"))[0]
        counter = target.backend.offline
        if body and isinstance(counter, BodyCounter):
            return call_offline(target.backend, counter.count_body, {**body, "model": target.model})
        return _count_content(target, wanted or make_countable(content, given))

    def _resolve(self, name: str | None) -> tuple[Target, ...]:
        if name is not None:
            name = check_model(name)
        names = self._aliases.get(name, (name,)) if name else (self._model,)
        path: tuple[str, ...] | None = ("llm", "model")
        if name:
            path = ("models", name) if name in self._aliases else None
        return tuple(self._make_target(each, path) for each in self._flatten(names))

    def _flatten(self, names: Sequence[str | None]) -> list[str | None]:
        """Replace aliases by their models. The recursion ends, because the configuration was checked for cycles."""
        flat: list[str | None] = []
        for name in names:
            if name is not None and name in self._aliases:
                flat.extend(self._flatten(self._aliases[name]))
            else:
                flat.append(name)
        return flat

    def _make_target(self, name: str | None, path: tuple[str, ...] | None) -> Target:
        if name and ":" in name:
            provider, model = self._names.split(name)
        else:
            provider, model = self._provider, name or ""
            nearest_name = self._names.find_alias_typo(model) if model else None
            if nearest_name is not None:
                raise _make_name_error(model, nearest_name, provider)
        backend = self._open_backend(provider, name or "")
        model = model or backend.entry.default_model or ""
        if not model:
            raise ConfigError(
                f"no model is configured for the llm provider `{provider}`",
                code="LC112",
                where="[llm] model",
                expected="the name of a model",
                fix=backend.format_set_line(("llm", "model"), "NAME"),
            )
        return Target(backend, model, functools.partial(self._find_key_maker, backend), path)

    def _open_backend(self, provider: str, name: str) -> Backend:
        """Return the backend of *provider*, the first part of *name*.

        Raises:
            PluginNotFound: No plugin offers the provider; the error suggests the nearest name.
            BadRequest: *name* begins with a colon.
        """
        try:
            if provider:
                return self._open(provider)
            error: LLMCoreError = BadRequest(f"model must begin with a provider, got `{name}`", code="LC308")
        except PluginNotFound as fault:
            error = fault
        if error.fix is not None and error.fix.startswith("pip "):
            raise error
        own = self._provider
        providers = self._names.list_providers()
        nearest_name = find_typo(provider, providers)
        error.where = "model"
        error.expected = ", ".join(f'"{each}:MODEL"' for each in providers)
        error.suggestion = nearest_name and f"{nearest_name}:{name.partition(':')[2]}"
        error.fix = f'model="{error.suggestion}"' if nearest_name else None
        if nearest_name is None:
            error.notes += (
                "a model with a colon in its name is written after its provider: provider:name:tag",
            )
            error.fix = f'model="{own}:{name}"'
        raise error

    def _find_key_maker(self, backend: Backend, namespace: str | None) -> KeyMaker:
        namespace = namespace or self._namespace
        found = self._key_makers.get((backend.name, namespace))
        if found is None:
            if len(self._key_makers) >= _MOST:
                self._key_makers.clear()
            identity = call_offline(backend, backend.entry.identity or make_identity, backend.options)
            found = KeyMaker(provider=backend.name, identity=identity, namespace=namespace)
            self._key_makers[backend.name, namespace] = found
        return found


def _make_name_error(name: str, nearest_name: str, provider: str) -> BadRequest:
    what = "a provider with its model" if nearest_name.endswith(":") else "a name of [models] or of a model"
    nearest_name = f"{nearest_name}MODEL" if nearest_name.endswith(":") else nearest_name
    return BadRequest(
        f"model must be {what}, got `{name}`",
        code="LC308",
        where="model",
        expected=f'{what}; a model with exactly this name is written "{provider}:{name}"',
        suggestion=nearest_name,
        fix=f'model="{nearest_name}"',
    )


def _make_model_error(target: Target, nearest_name: str, *, bare: bool) -> BadRequest:
    provider, model = target.backend.name, target.model
    extra = target.backend.format_set_line(("llm", provider, "extra_models"), f'["{model}"]')
    nearest_name = nearest_name if bare else f"{provider}:{nearest_name}"
    return BadRequest(
        f"model must be a model of `{provider}`, got `{model}`",
        code="LC308",
        where="model",
        expected=f"a known model of `{provider}`, or a name that is not similar to one",
        suggestion=nearest_name,
        notes=(f"if the server has `{model}`: {extra}",),
        fix=f'model="{nearest_name}"',
    )


def _read_extra_body(backend: Backend) -> dict[str, Any]:
    """Return the `extra_body` of the provider's table; empty if the table has none.

    Raises:
        ConfigError: `extra_body` sets a parameter that llmcore sets itself, or contains a value that is not
            JSON, such as a date.
    """
    table = (
        options_to_dict(backend.options).get(EXTRA_BODY) if EXTRA_BODY in backend.entry.parameters else None
    )
    if not table:
        return {}
    where = f"[{backend.kind}.{backend.name}] {EXTRA_BODY}"
    try:
        return normalise_extra_body(table, where)
    except BadRequest as error:
        fault = error
        raise_unchained(
            ConfigError(str(fault.args[0]), code="LC203", where=fault.where or where, expected=fault.expected)
        )


def _count_content(target: Target, wanted: Countable) -> TokenCount:
    """Count a text or a request. The count of a request that is not a chat is marked as not exact."""
    counter = _find_counter(target.backend)
    if wanted.text is not None:
        return call_offline(target.backend, counter.count_tokens, wanted.text, target.model)
    parameters = target.merge_parameters(wanted.parameters, None)
    request = ChatRequest(model=target.model, messages=wanted.messages or (), parameters=parameters)
    count = count_request(target.backend, request)
    return count if wanted.chat else TokenCount(count, exact=False)


def count_request(backend: Backend, request: ChatRequest) -> TokenCount:
    """Return the tokens of *request*, counted without sending it.

    Raises:
        PluginError: The provider cannot count.
    """
    from llmcore.contracts import BodyCounter

    counter = _find_counter(backend)
    if request.api != "chat" and isinstance(counter, BodyCounter):
        return call_offline(backend, counter.count_body, request.body())
    return call_offline(backend, counter.count_tokens, request, request.model)


def _find_counter(backend: Backend) -> TokenCounter:
    from llmcore.contracts import TokenCounter

    counter = backend.offline
    if not isinstance(counter, TokenCounter):
        raise PluginError(
            f"the llm provider `{backend.name}` cannot count tokens",
            expected="a provider with the ability TokenCounter",
        )
    return counter
