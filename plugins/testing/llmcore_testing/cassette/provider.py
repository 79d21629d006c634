"""The provider of a cassette. It records or replays all methods of a contract, sync and async."""

from __future__ import annotations

import collections.abc
import hashlib
import inspect
import json
import types
import typing
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from llmcore import contracts, errors
from llmcore.calls.backend import Backend, build_backend
from llmcore.calls.bridges import Ability
from llmcore.calls.drivers import arun, run
from llmcore.calls.steps import Act
from llmcore.config import Settings, load_settings
from llmcore.content_log.redaction import find_keys
from llmcore.errors import LLMCoreError
from llmcore.plugins import Catalogue
from llmcore.support.home import expand_home
from llmcore.types import TokenCount
from llmcore_testing.cassette.cleaning import Cleaner, encode, hide_fields
from llmcore_testing.cassette.options import CassetteOptions
from llmcore_testing.cassette.tape import Tape

__all__ = ["Cassette", "find_apis"]

_MODULES: Final = {"llm": ("llm", "embeddings"), "voice": ("voice",)}
_TIMEOUTS: Final = ("timeout_s", "idle_s")
"""Arguments that are not compared, because they differ from call to call."""
_NOW: Final = "at"
"""The argument of `price` with the time of the call. It is not compared, because it differs from call to call."""
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
        ConfigError: The file is not a cassette, or the file to replay does not exist.
    """

    def __init__(self, kind: str, options: CassetteOptions) -> None:
        self._methods, self._local = _find_methods(kind)
        self._backend: Backend | None = None
        self._mode = options.mode
        settings = _load_settings(kind, options)
        if options.mode != "replay":
            self._backend = build_backend(kind, options.provider, settings, Catalogue())
        self._cleaner = Cleaner(find_keys(settings))
        self._tape = Tape(expand_home(options.path), kind, options.mode, self._cleaner.clean)
        self.keeps_timeouts = self._backend is None or self._backend.keeps_timeouts

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in self._local:
            return self._make_local(name)
        is_async = name.startswith("a") and name[1:] in self._methods
        base = name[1:] if is_async else name
        inner = None if self._backend is None else getattr(self._backend.provider, name, None)
        if base not in self._methods:
            if inner is None:
                raise AttributeError(name)
            return inner
        if inner is None and (self._backend is not None or not self._tape.has(base)):
            raise AttributeError(name)
        kind = self._methods[base]
        if typing.get_origin(kind) in _STREAMS:
            make: Callable[..., Any] = self._astream if is_async else self._stream
        else:
            make = self._acall if is_async else self._call
        return lambda *args, **named: make(base, kind, inner, args, named)

    def close(self) -> None:
        """Write the calls that are not in the file yet, and close the provider."""
        self._tape.flush()
        if self._backend is not None:
            run(_close(self._backend))

    async def aclose(self) -> None:
        """See `close`."""
        self._tape.flush()
        if self._backend is not None:
            await arun(_close(self._backend))

    def _make_local(self, name: str) -> Callable[..., Any]:
        """Return the local method *name*, such as `count_tokens` or `price`, which needs no server.

        A method whose result may be None returns None for a request that was not recorded.
        """
        inner = None if self._backend is None else getattr(self._backend.offline, name, None)
        if inner is None and (self._backend is not None or not self._tape.has(name)):
            raise AttributeError(name)
        signature, kind = self._local[name]
        is_optional = types.NoneType in typing.get_args(kind)

        def answer(*args: Any, **named: Any) -> Any:
            request: Any = _describe_local(signature.bind(None, *args, **named).arguments)
            if is_optional:  # store only a hash: the request may contain a whole conversation
                text = json.dumps(self._cleaner.clean(request), sort_keys=True)
                request = _hash(text.encode())
            found = None if self._mode == "record" else self._tape.find(name, request)
            if found is None and self._backend is None:
                if is_optional:
                    return None
                raise self._tape.make_mismatch(name, request)
            if found is None:
                return self._record_local(name, request, inner, args, named)
            if "error" in found:
                raise _restore_error(found["error"])
            return _restore(found["answer"], kind)

        return answer

    def _record_local(self, name: str, request: Any, inner: Any, args: Any, named: Any) -> Any:
        try:
            answer = inner(*args, **named)
        except LLMCoreError as error:
            self._tape.add_local(name, request, error=_describe_error(error))
            raise
        self._tape.add_local(name, request, answer=_encode_answer(answer))
        return answer

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
        self._tape.add(name, request, answer=_encode_answer(answer))
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
        self._tape.add(name, request, answer=_encode_answer(answer))
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
        """Return the recorded call, or None if the provider must be called. Raise the error of a recorded failure."""
        found = None if self._mode == "record" else self._tape.find(name, request)
        if found is None:
            if self._backend is None:
                raise self._tape.make_mismatch(name, request)
            return None
        if "error" in found:
            raise _restore_error(found["error"])
        return found


def find_apis(options: CassetteOptions) -> frozenset[str]:
    """Return the APIs that the recorded provider accepts.

    In the mode "replay", return "chat" and the APIs of the recorded requests.
    """
    if options.mode != "replay":
        return build_backend("llm", options.provider, _load_settings("llm", options), Catalogue()).apis
    tape = Tape(expand_home(options.path), "llm", options.mode, Cleaner().clean)
    requests = [each for each in tape.list_requests("complete", "stream") if isinstance(each, dict)]
    return frozenset({"chat"} | {request.get("api", "chat") for request in requests})


def _load_settings(kind: str, options: CassetteOptions) -> Settings:
    table = {options.provider: options.options} if options.options else {}
    return load_settings(arguments={kind: {"provider": options.provider, **table}})


def _close(backend: Backend) -> Act[None]:
    ability: Ability | None = backend.detach_close()
    if ability is not None:
        yield ability()


def _find_methods(kind: str) -> tuple[dict[str, Any], dict[str, tuple[inspect.Signature, Any]]]:
    """Return two mappings of the methods of *kind*.

    The first mapping has the network methods, each with its return type. The second has the local methods, each with
    its signature and return type.

    A method counts as a network method if it has an async variant.
    """
    modules = {f"llmcore.contracts.{module}" for module in _MODULES[kind]}
    protocols = [getattr(contracts, name) for name in contracts.__all__]
    found: dict[str, Any] = {}
    for protocol in (each for each in protocols if each.__module__ in modules):
        found |= {name: value for name, value in vars(protocol).items() if inspect.isfunction(value)}
    public = {name: method for name, method in found.items() if not name.startswith("_")}
    asynchronous = {name for name in public if name[1:] in public and name[0] == "a"}
    types_of = {name: typing.get_type_hints(method).get("return") for name, method in public.items()}
    remote = {name: types_of[name] for name in public if f"a{name}" in asynchronous}
    local = public.keys() - remote.keys() - asynchronous
    return remote, {name: (inspect.signature(public[name]), types_of[name]) for name in sorted(local)}


def _describe(args: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
    """Return the arguments of a call as a JSON value, without the fields that contain secrets."""
    described = [hide_fields(_encode_argument(arg)) for arg in args]
    for each in described:
        if isinstance(each, dict):
            for name in _TIMEOUTS:
                each.pop(name, None)
    kept = hide_fields(
        {name: _encode_argument(value) for name, value in named.items() if name not in _TIMEOUTS}
    )
    if len(described) == 1 and not kept:
        return described[0]
    return {"arguments": described, **kept}


def _describe_local(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the *arguments* of a local method as a JSON value. The first argument, `self`, is left out."""
    named = dict(list(arguments.items())[1:])
    described: dict[str, Any] = hide_fields(
        {name: _encode_argument(value) for name, value in named.items() if name != _NOW and value is not None}
    )
    return described


def _encode_argument(value: Any) -> Any:
    """Return an argument as a JSON value. Bytes become a hash, because a person's recording must not be stored."""
    return _hash_bytes(encode(value))


def _hash_bytes(value: Any) -> Any:
    if isinstance(value, bytes):
        return _hash(value)
    if isinstance(value, Mapping):
        return {name: _hash_bytes(item) for name, item in value.items()}
    return [_hash_bytes(item) for item in value] if isinstance(value, list | tuple) else value


def _hash(data: bytes) -> str:
    """Return a short hash. `Cleaner` would take a longer hash for a key and remove it."""
    return f"hash:{hashlib.sha256(data).hexdigest()[:12]}"


def _encode_answer(answer: Any) -> Any:
    if isinstance(answer, TokenCount):
        return {"tokens": int(answer), "exact": answer.exact, "bound": answer.bound}
    return encode(answer)


def _restore(value: Any, kind: Any) -> Any:
    if kind is TokenCount:
        return TokenCount(value["tokens"], exact=value["exact"], bound=value["bound"])
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
