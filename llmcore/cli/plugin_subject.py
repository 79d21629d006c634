"""The provider that `llmcore plugins check` tests.

The tests write, delete and clear entries. Each test gets a separate store if the options allow it: a new
folder for `root` or `cache_dir`, a new name for `namespace` or `prefix`. Any other cache or storage must be
empty at the start, and is cleared after each test.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from llmcore.calls.backend import Backend
from llmcore.calls.drivers import run
from llmcore.calls.options import options_to_dict
from llmcore.cli.command_errors import UsageError
from llmcore.cli.command_helpers import parse_values
from llmcore.cli.plugin_lines import make_plugins_line
from llmcore.cli.voice_variations import Variations, find_variations
from llmcore.config import load_settings
from llmcore.config.fields import get_fields, has_type
from llmcore.errors import (
    AuthenticationFailed,
    CacheUnavailable,
    EngineError,
    LedgerUnavailable,
    LLMCoreError,
    QuotaExhausted,
    StorageDenied,
    StorageUnavailable,
    Timeout,
    Unavailable,
)
from llmcore.hookspecs import Provider
from llmcore.types import ChatRequest, Secret

__all__ = ["Subject", "get_subject", "under_test"]

_FOLDERS: Final = ("root", "cache_dir", "folder", "directory", "path", "file")
"""Options that name the folder or the file of a store."""
_NAMES: Final = ("namespace", "prefix", "schema")
"""Options that divide one store into separate parts."""
_SERVERS: Final = ("url", "servers", "address", "host", "endpoint", "base_url", "dsn", "bucket", "container")
"""Options that name a store outside of the process. A second provider with the same options has the same entries."""
_LEAST_SECRET: Final = 8
"""Minimum length in characters of a secret that the tests look for. A shorter text may appear in an output by chance."""
_PROBE_S: Final = 60.0
"""The timeout of the first request to a language model, in seconds."""
_PROBES: Final[Mapping[str, tuple[Any, ...]]] = {
    "cache": ("get", "llmcore-check"),
    "storage": ("exists", "llmcore-check"),
    "voice": ("list_voices",),
    "ledger": ("prepare", 10.0),
    "engines": ("count_slots",),
}
_OUTAGES: Final = (
    AuthenticationFailed, CacheUnavailable, EngineError, LedgerUnavailable, QuotaExhausted, StorageDenied, StorageUnavailable, Timeout, Unavailable,
)  # fmt: skip


class Subject:
    """The provider under test. The fixture creates a new provider for each test."""

    def __init__(self, kind: str, entry: Provider, args: argparse.Namespace) -> None:
        self.kind = kind
        self.entry = entry
        self._config, self._profile, self._args = args.config, args.profile, args
        self._given = parse_values(args.option, "-o")
        known = get_fields(entry.options)
        self._folder = next((name for name in _FOLDERS if name in known and name not in self._given), None)
        self._name = next((name for name in _NAMES if name in known and name not in self._given), None)
        self._has_place = any(name in known for name in _FOLDERS + _SERVERS)
        self._opened: dict[str, Any] = {}
        self.variations = Variations({})
        """Other values of the options of a voice; see `vary`."""

    def check(self) -> None:
        """Check options, keys and the store before the tests run.

        Raises:
            ConfigError: An option is invalid or missing.
            UsageError: The store is not empty; the tests would delete its content.
        """
        backend = self.make_backend(self._given)
        if self.kind not in {"cache", "storage"}:
            _ = backend.provider
            return
        _ = backend.options
        if self._folder or self._name:
            return
        listing = backend.find_ability("list_files" if self.kind == "storage" else "keys")
        count = None if listing is None else len(list(run(_make_act(listing()))))
        if count != 0:
            stores = [name for name in self._given if name in _FOLDERS + _NAMES]
            what = "cannot list its content" if count is None else f"is not empty: it has {count} entries"
            raise UsageError(
                f"the {self.kind} `{backend.name}` {what}, and the tests delete every entry",
                expected=f"an empty {self.kind}, or an option that selects one",
                fix=make_plugins_line(backend.name, self._args, without=stores) if stores else None,
            )

    @contextlib.contextmanager
    def open(self, folder: Path, **more: Any) -> Iterator[Any]:
        """Yield a provider with an empty store and the additional options *more*.

        If the provider has an option for a folder, the store is in *folder*.
        """
        options = self._choose_store(folder) | more
        if not more:
            self._opened = options
        backend = self.make_backend(options)
        try:
            yield backend.provider
        finally:
            if self.kind == "engines":  # the kit of engines closes only the engines of its fixture `opener`
                with contextlib.suppress(Exception):  # the tests report an engine that cannot be closed
                    _close(backend)
            elif self._folder is None:
                _empty(self.make_backend(options))  # a new provider, because the test has closed its own

    def _choose_store(self, folder: Path) -> dict[str, Any]:
        options = dict(self._given)
        if self.kind in {"cache", "storage", "ledger"}:
            if self._folder:
                options[self._folder] = str(folder / "store")
            if self._name:
                dash = "_" if self._name == "schema" else "-"
                options[self._name] = f"llmcore{dash}check{dash}{secrets.token_hex(6)}"
        return options

    def open_again(self) -> Any:
        """Return a second provider with the options of the provider that was opened last."""
        return self.make_backend(self._opened).provider

    def vary(self) -> None:
        """Find the options of a voice that change the audio, and store the result in `variations`."""
        if self.kind != "voice":
            return
        backend = self.make_backend(self._given)
        if not hasattr(backend.provider, "voice_traits"):
            self.variations = Variations(
                {}, reason="without `voice_traits`, the cache key of audio contains all options"
            )
            return

        def call(changed: Mapping[str, Any], name: str, *args: Any) -> Any:
            return run(_make_act(self.make_backend(self._given | dict(changed)).require(name)(*args)))

        places = frozenset(_FOLDERS + _SERVERS + _NAMES)
        self.variations = find_variations(self.entry, options_to_dict(backend.options), places, call)

    def open_variation(self, name: str) -> Any:
        """Return a provider with another value of the option *name*, which changes the audio."""
        return self.make_backend(self._given | {name: self.variations.values[name]}).provider

    def probe(self, model: str | None) -> None:
        """Make one call, so that a server that is down is reported once and not by each test.

        Raises:
            LLMCoreError: The server cannot be reached, does not answer, or refuses the key.
        """
        if self.kind == "llm":
            request = ChatRequest(
                model=model or "",
                messages=[{"role": "user", "content": "Say something."}],
                timeout_s=_PROBE_S,
            )
            call: tuple[Any, ...] = ("complete", request)
        else:
            call = _PROBES[self.kind]
        with tempfile.TemporaryDirectory(prefix="llmcore-check-") as folder:
            backend = self.make_backend(self._choose_store(Path(folder)))
            name, *arguments = call
            try:
                run(_make_act(backend.require(name)(*arguments)))
            except _OUTAGES:
                raise
            except Exception:  # noqa: BLE001 - the tests report this error
                return

    def find_models(self) -> list[str]:
        """Return the models that the provider lists.

        The list is empty if the provider lists no models or its server does not answer.
        """
        try:
            listing = self.make_backend(self._given).find_ability("list_models")
            return [] if listing is None else [str(model) for model in run(_make_act(listing()))]
        except Exception:  # noqa: BLE001 - the names only serve as examples
            return []

    def find_max_value(self) -> int | None:
        """Return the option `max_value_bytes`; None if the provider does not have the option."""
        found = options_to_dict(self.make_backend(self._given).options).get("max_value_bytes")
        return found if isinstance(found, int) else None

    def find_secrets(self) -> dict[str, str]:
        """Return the configured secrets by option. No output may contain such a secret.

        A secret with fewer than `_LEAST_SECRET` characters is skipped.
        """
        options = options_to_dict(self.make_backend(self._given).options)
        return {
            name: value.reveal()
            for name, value in options.items()
            if isinstance(value, Secret) and len(value.reveal()) >= _LEAST_SECRET
        }

    @property
    def has_secret_options(self) -> bool:
        """True if the provider has an option for a key. No output may contain such a key."""
        return any(has_type(field.type, Secret) for field in get_fields(self.entry.options).values())

    @property
    def has_twin(self) -> bool:
        """True if a second provider with the same options has the same entries."""
        return self.kind in {"cache", "storage"} and self._has_place

    @property
    def has_opener(self) -> bool:
        """True if the kit can open further providers: ledgers with the same rows, or engines."""
        return self.kind == "engines" or (self.kind == "ledger" and self._has_place)

    @functools.cached_property
    def shares_rate_limits(self) -> bool:
        """True if the provider is a cache with the ability `CacheRateLimits`."""
        return (
            self.kind == "cache" and self.make_backend(self._given).find_ability("request_permit") is not None
        )

    @property
    def has_namespace(self) -> bool:
        """True if the provider has a `namespace` option."""
        return self._name == "namespace"

    def make_backend(self, options: Mapping[str, Any]) -> Backend:
        """Return the backend with *options* in place of the configured options."""
        arguments = {self.kind: {self.entry.name: dict(options)}}
        settings = load_settings(self._config, profile=self._profile, arguments=arguments)
        return Backend(self.kind, self.entry, settings)


under_test: Subject | None = None
"""The subject. `check` sets it before running the tests in this process."""


def get_subject() -> Subject:
    """Return the subject for the tests that `check` wrote."""
    assert under_test is not None  # noqa: S101 - `check` has set the subject
    return under_test


def _empty(backend: Backend) -> None:
    """Delete every entry of the store, and close the provider."""
    with contextlib.suppress(LLMCoreError):
        if backend.kind == "ledger":
            getattr(backend.provider, "drop", lambda: None)()
        elif backend.kind == "cache":
            run(_make_act(backend.require("clear")()))
        elif backend.kind == "storage":
            for key in run(_make_act(backend.require("list_files")(""))):
                run(_make_act(backend.require("delete")(key)))
        _close(backend)


def _close(backend: Backend) -> None:
    if closing := backend.detach_close():
        run(_make_act(closing()))


def _make_act(step: Any) -> Any:
    return (yield step)
