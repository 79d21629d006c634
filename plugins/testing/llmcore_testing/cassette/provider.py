"""The provider of a cassette: each network method of a contract, recorded or replayed, sync and async."""

from __future__ import annotations

import collections.abc
import typing
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from llmcore import contracts, errors
from llmcore.calls.backend import Backend, build_backend
from llmcore.config import load_settings
from llmcore.content_log.redaction import find_keys
from llmcore.errors import LLMCoreError
from llmcore.plugins import Catalogue
from llmcore.support.home import expand_home
from llmcore.types import TokenCount
from llmcore_testing.cassette.cleaning import Cleaner, encode, hide_fields
from llmcore_testing.cassette.plugin import CassetteOptions
from llmcore_testing.cassette.tape import Tape

__all__ = ["Cassette"]

_MODULES: Final = {"llm": ("llm", "embeddings"), "voice": ("voice",)}
_TIMEOUTS: Final = ("timeout_s", "idle_s")
"""Not a part of the request: they differ from call to call."""
_FIELDS: Final = (
    "code",
    "status",
    "retry_after",
    "request_id",
    "sent",
    "answered",
    "where",
    "expected",
    "suggestion",
    "fix",
)
_STREAMS: Final = (collections.abc.Iterator, collections.abc.AsyncIterator)


class Cassette:
    """Record the calls of a provider of *kind*, or replay them.

    Raises:
        ConfigError: The file is not a cassette; to replay, it must exist.
    """

    def __init__(self, kind: str, options: CassetteOptions) -> None:
        self._methods = _find_methods(kind)
        self._backend: Backend | None = None
        self._mode = options.mode
        table = {options.provider: options.options} if options.options else {}
        settings = load_settings(arguments={kind: {"provider": options.provider, **table}})
        if options.mode != "replay":
            self._backend = build_backend(kind, options.provider, settings, Catalogue())
        self._cleaner = Cleaner(find_keys(settings))
        self._tape = Tape(expand_home(options.path), kind, options.mode, self._cleaner.clean)
        self.keeps_timeouts = self._backend is None or self._backend.keeps_timeouts

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        is_async = name.startswith("a") and name[1:] in self._methods
        base = name[1:] if is_async else name
        inner = None if self._backend is None else getattr(self._backend.provider, name, None)
        if base not in self._methods:
            if inner is None:
                raise AttributeError(name)
            return inner  # counts and prices need no server
        if inner is None and (self._backend is not None or not self._tape.has(base)):
            raise AttributeError(name)
        kind = self._methods[base]
        if typing.get_origin(kind) in _STREAMS:
            make: Callable[..., Any] = self._astream if is_async else self._stream
        else:
            make = self._acall if is_async else self._call
        return lambda *args, **named: make(base, kind, inner, args, named)

    def _call(self, name: str, kind: Any, inner: Any, args: Any, named: Any) -> Any:
        request = _describe(args, named)
        found = self._find(name, request)
        if found is not None:
            return _restore(found["answer"], kind)
        try:
            answer = inner(*args, **named)
        except LLMCoreError as error:
            self._tape.add(name, request, error=_describe_error(error))
            raise
        self._tape.add(name, request, answer=encode(answer))
        return answer

    async def _acall(self, name: str, kind: Any, inner: Any, args: Any, named: Any) -> Any:
        request = _describe(args, named)
        found = self._find(name, request)
        if found is not None:
            return _restore(found["answer"], kind)
        try:
            answer = await inner(*args, **named)
        except LLMCoreError as error:
            self._tape.add(name, request, error=_describe_error(error))
            raise
        self._tape.add(name, request, answer=encode(answer))
        return answer

    def _stream(self, name: str, kind: Any, inner: Any, args: Any, named: Any) -> Iterator[Any]:
        request = _describe(args, named)
        found = self._find(name, request)
        if found is not None:
            yield from (_restore(piece, typing.get_args(kind)[0]) for piece in found["pieces"])
            return
        pieces: list[Any] = []
        try:
            for piece in inner(*args, **named):
                pieces.append(piece)
                yield piece
        except LLMCoreError as error:
            self._tape.add(name, request, error=_describe_error(error))
            raise
        self._tape.add(name, request, pieces=self._cleaner.clean_pieces(pieces))

    async def _astream(self, name: str, kind: Any, inner: Any, args: Any, named: Any) -> AsyncIterator[Any]:
        request = _describe(args, named)
        found = self._find(name, request)
        if found is not None:
            for piece in found["pieces"]:
                yield _restore(piece, typing.get_args(kind)[0])
            return
        pieces: list[Any] = []
        try:
            async for piece in inner(*args, **named):
                pieces.append(piece)
                yield piece
        except LLMCoreError as error:
            self._tape.add(name, request, error=_describe_error(error))
            raise
        self._tape.add(name, request, pieces=self._cleaner.clean_pieces(pieces))

    def _find(self, name: str, request: Any) -> Mapping[str, Any] | None:
        """Return the recorded call, raise the recorded error, or return None if the provider is to be called."""
        found = None if self._mode == "record" else self._tape.find(name, request)
        if found is None:
            if self._backend is None:
                raise self._tape.make_mismatch(name, request)
            return None
        if "error" in found:
            raise _restore_error(found["error"])
        return found


def _find_methods(kind: str) -> dict[str, Any]:
    """Return the methods of *kind* that may use the network, which have an async variant, with the types that they return."""
    modules = {f"llmcore.contracts.{module}" for module in _MODULES[kind]}
    protocols = [getattr(contracts, name) for name in contracts.__all__]
    found: dict[str, Any] = {}
    for protocol in (each for each in protocols if each.__module__ in modules):
        for name, method in vars(protocol).items():
            if not name.startswith("_") and callable(method):
                found[name] = typing.get_type_hints(method).get("return")
    return {
        name: kind_of for name, kind_of in found.items() if f"a{name}" in found and kind_of is not TokenCount
    }


def _describe(args: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
    """Return the arguments of a call as a JSON value, without the fields that contain secrets."""
    described = [hide_fields(encode(arg)) for arg in args]
    for each in described:
        if isinstance(each, dict):
            for name in _TIMEOUTS:
                each.pop(name, None)
    kept = hide_fields({name: encode(value) for name, value in named.items() if name not in _TIMEOUTS})
    if len(described) == 1 and not kept:
        return described[0]
    return {"arguments": described, **kept}


def _restore(value: Any, kind: Any) -> Any:
    return value if kind is None else msgspec.convert(value, kind, strict=False)


def _describe_error(error: LLMCoreError) -> dict[str, Any]:
    fields = {name: getattr(error, name, None) for name in _FIELDS}
    kept = {name: value for name, value in fields.items() if value is not None}
    return {"class": type(error).__name__, "message": error.message, "notes": list(error.notes), **kept}


def _restore_error(recorded: Mapping[str, Any]) -> LLMCoreError:
    kind = getattr(errors, recorded["class"], errors.ProviderError)
    error: LLMCoreError = kind(recorded["message"])
    error.notes = tuple(recorded["notes"])
    for name in _FIELDS:
        if name in recorded:
            setattr(error, name, recorded[name])
    return error
