"""The provider that `llmcore plugins check` tests, each time a fresh one.

The tests write, delete and clear. So each gets a backend of its own where the options allow that: a new folder for
`root` or `cache_dir`, a new name for `namespace` or `prefix`. Any other cache or storage must be empty, and is
emptied after each test.
"""

from __future__ import annotations

import argparse
import contextlib
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from llmcore.calls.backend import Backend
from llmcore.calls.drivers import run
from llmcore.calls.options import secrets_of
from llmcore.cli.misuse import UsageError
from llmcore.cli.opening import named_values
from llmcore.config import load_settings
from llmcore.config.fields import fields_of
from llmcore.errors import LLMCoreError
from llmcore.hookspecs import Provider

__all__ = ["Subject", "subject", "under_test"]

_FOLDERS: Final = ("root", "cache_dir", "folder", "directory")
_NAMES: Final = ("namespace", "prefix")


class Subject:
    """The provider under test, and how to make a fresh one."""

    def __init__(self, kind: str, entry: Provider, args: argparse.Namespace) -> None:
        self.kind = kind
        self.entry = entry
        self._config, self._profile = args.config, args.profile
        self._given = named_values(args.option, "-o")
        known = fields_of(entry.options)
        self._folder = next((name for name in _FOLDERS if name in known and name not in self._given), None)
        self._name = next((name for name in _NAMES if name in known and name not in self._given), None)

    def must_serve(self) -> None:
        """Refuse what no test needs to find out: options that do not fit, a key that is missing, a store in use.

        Raises:
            ConfigError: The options do not fit.
            UsageError: The store is not empty, and the tests would delete what they find.
        """
        backend = self.backend(self._given)
        if self.kind not in {"cache", "storage"}:
            _ = backend.provider
            return
        _ = backend.options
        if self._folder or self._name:
            return
        listing = backend.ability("list_files" if self.kind == "storage" else "keys")
        held = None if listing is None else len(list(run(_step(listing()))))
        if held != 0:
            what = "cannot tell whether it is empty" if held is None else f"is not empty: it holds {held}"
            raise UsageError(
                f"the {self.kind} `{backend.name}` {what}, and the tests delete what they find",
                expected="an empty one, or an option that leads to one",
                fix=f"llmcore plugins check {backend.name} -o NAME=VALUE",
            )

    @contextlib.contextmanager
    def opened(self, folder: Path, **more: Any) -> Iterator[Any]:
        """Give a provider whose store is empty; *folder* is the test's own, *more* are options for this one."""
        options = self._given | more
        if self.kind in {"cache", "storage"}:
            if self._folder:
                options[self._folder] = str(folder / "store")
            if self._name and self._name not in options:
                options[self._name] = f"llmcore-check-{secrets.token_hex(6)}"
        backend = self.backend(options)
        try:
            yield backend.provider
        finally:
            if self._folder is None:
                _empty(backend)

    def secret(self) -> str | None:
        """Return a key that the provider is given, which must show nowhere; None where it has none."""
        return next(iter(secrets_of(self.backend(self._given).options)), None)

    @property
    def named(self) -> bool:
        """Whether the provider keeps namespaces apart."""
        return self._name == "namespace"

    def backend(self, options: Mapping[str, Any]) -> Backend:
        """Return the backend with *options* in the place of configured ones."""
        arguments = {self.kind: {self.entry.name: dict(options)}}
        settings = load_settings(self._config, profile=self._profile, arguments=arguments)
        return Backend(self.kind, self.entry, settings)


under_test: Subject | None = None
"""Set before the tests are run in this process."""


def subject() -> Subject:
    """Return what is under test, to the tests that `check` wrote."""
    assert under_test is not None  # noqa: S101 - the tests run below `check`
    return under_test


def _empty(backend: Backend) -> None:
    """Leave nothing behind."""
    with contextlib.suppress(LLMCoreError):
        if backend.kind == "cache":
            run(_step(backend.must("clear")()))
        elif backend.kind == "storage":
            for key in run(_step(backend.must("list_files")(""))):
                run(_step(backend.must("delete")(key)))


def _step(step: Any) -> Any:
    return (yield step)
