"""The table `[llm.anthropic]`, and the account that it describes, completed from the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec

from llmcore.errors import ConfigError
from llmcore.hookspecs import Options
from llmcore.support.addresses import find_address_fault
from llmcore.support.digests import start_sha256
from llmcore.support.text import find_unsendable
from llmcore.types import Secret

__all__ = [
    "BILL_KEY_VARIABLE",
    "BILL_TABLE",
    "KEY_VARIABLE",
    "OFFICIAL",
    "Account",
    "AnthropicBillOptions",
    "AnthropicOptions",
    "make_identity",
]

BILL_TABLE: Final = "anthropic_bill"
BILL_KEY_VARIABLE: Final = "ANTHROPIC_ADMIN_KEY"

OFFICIAL: Final = "https://api.anthropic.com"
KEY_VARIABLE: Final = "ANTHROPIC_API_KEY"
_URL_VARIABLE: Final = "ANTHROPIC_BASE_URL"
_ADDRESS: Final = re.compile(r"https?://[^\s/@?#]+(/[^\s?#]*)?")
"""Matches an address without password and query. Errors show the address, so it must not contain a secret."""
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_RESERVED: Final = frozenset(
    {"authorization", "content-length", "content-type", "expect", "transfer-encoding", "x-api-key"}
)
"""Headers that only this plugin and the HTTP client may set."""


class AnthropicOptions(Options, frozen=True, kw_only=True):
    """The table `[llm.anthropic]`."""

    api_key: Secret | None = None
    """A reference such as "env:ANTHROPIC_API_KEY", which is the default."""
    base_url: str | None = None
    """The server, without `/v1`. Default: ANTHROPIC_BASE_URL, or Anthropic's own server."""
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] = 4096
    """The value of `max_tokens` for calls that do not set it. The API requires this parameter."""
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    """Additional headers of every request, such as "anthropic-beta"."""
    extra_body: dict[str, Any] = msgspec.field(default_factory=dict)
    """Parameters that are added to every request unchanged."""

    def __repr__(self) -> str:
        """Show the options without the values of headers and parameters, which may contain keys."""
        shown = {name: getattr(self, name) for name in self.__struct_fields__}
        for name in ("headers", "extra_body"):
            shown[name] = dict.fromkeys(shown[name], "…")
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


class AnthropicBillOptions(Options, frozen=True, kw_only=True):
    """How `llmcore usage reconcile` reads the bill: the table `[anthropic_bill]`."""

    admin_key: Secret | None = None
    """A reference such as "env:ANTHROPIC_ADMIN_KEY", which is the default."""
    base_url: str | None = None
    """The server, without `/v1`. Default: Anthropic's own server."""
    api_key_ids: tuple[str, ...] = ()
    """The ids of the API keys whose calls are in the ledger, such as "apikey_01Rj". Default: all."""
    workspace_ids: tuple[str, ...] = ()
    """The ids of the workspaces whose calls are in the ledger. Default: all. The default workspace has the id ""."""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """The server to call, and the API key."""

    base_url: str
    key: Secret | None
    key_source: str
    """The option or variable that contains, or should contain, the key."""
    headers: Mapping[str, str]
    url_variable: str | None = None
    """The environment variable that sets the address; None if the address is an option or the default."""

    @classmethod
    def from_options(cls, options: AnthropicOptions) -> Account:
        """Complete *options* from the environment."""
        key, source = options.api_key, "[llm.anthropic] api_key"
        if key is None or not key.reveal().strip():
            value = os.environ.get(KEY_VARIABLE, "").strip()
            key, source = (Secret(value) if value else None), KEY_VARIABLE
        configured, variable = (options.base_url or "").strip(), os.environ.get(_URL_VARIABLE, "").strip()
        return cls(
            base_url=(configured or variable or OFFICIAL).rstrip("/").removesuffix("/v1"),
            key=None if key is None else Secret(key.reveal().strip()),
            key_source=source,
            headers={name: value.strip() for name, value in options.headers.items()},
            url_variable=_URL_VARIABLE if variable and not configured else None,
        )

    def check(self) -> Account:
        """Return this account if requests can be sent with it.

        Raises:
            ConfigError: The key is missing, or the key, the address or a header cannot be sent.
        """
        fault = find_address_fault(self.base_url)
        if fault is not None or not _ADDRESS.fullmatch(self.base_url):
            raise ConfigError(
                "base_url must be the address of a server" + (f": {fault}" if fault else ""),
                code="LC203",
                where=self.url_variable or "[llm.anthropic] base_url",
                expected="http:// or https://, a host, and no name, password or query",
                fix=self.make_url_fix(OFFICIAL),
            )
        if self.key is None:
            raise ConfigError(
                f"no API key for the llm provider `anthropic`: {self.key_source} is not set",
                code="LC201",
                where="[llm.anthropic] api_key",
                expected=f"the key in the environment variable {KEY_VARIABLE}",
                notes=('without a key, provider = "echo" in [llm] answers at no cost',),
                fix=f"export {KEY_VARIABLE}=sk-ant-...",
            )
        if fault := find_unsendable(self.key.reveal(), spaces=False):
            raise ConfigError(
                f"the API key from {self.key_source} has characters that no HTTP header can contain: {fault}",
                code="LC204",
                where="[llm.anthropic] api_key",
                expected="printable ASCII without spaces",
                fix=f"copy the key again into {KEY_VARIABLE}",
            )
        for name, value in self.headers.items():
            _check_header(name, value)
        return self

    def make_url_fix(self, url: str) -> str:
        """Return the line that sets the address to *url*."""
        if self.url_variable:
            return f"export {self.url_variable}={url}"
        return f"llmcore config set llm.anthropic.base_url {url}"


def make_identity(options: AnthropicOptions) -> dict[str, str]:
    """Return the settings that can change an answer: the address, the account and the headers.

    No key is needed.
    """
    account = Account.from_options(options)
    identity = {
        "base_url": account.base_url,
        "key": "" if account.key is None else _digest(account.key.reveal()),
        "max_tokens": str(options.max_tokens),
    }
    if account.headers:
        identity["headers"] = _digest(repr(sorted(account.headers.items())))
    return identity


def _check_header(name: str, value: str) -> None:
    fault: str | None = None
    if name.lower() in _RESERVED:
        fault = "only the HTTP client may set this header"
    elif not _HEADER_NAME.fullmatch(name):
        fault = find_unsendable(name, spaces=False) or "it is not the name of a header"
    fault = fault or find_unsendable(value)
    if fault:
        raise ConfigError(
            f"headers.{name!a} cannot be sent as an HTTP header: {fault}",
            code="LC204",
            where=f"[llm.anthropic] headers.{name!a}",
            expected="a value of printable ASCII characters, in a header that the application may set",
        )


def _digest(text: str) -> str:
    return start_sha256(text.encode("utf-8", "replace")).hexdigest()[:32]
