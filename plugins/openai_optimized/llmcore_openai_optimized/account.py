"""The settings of a server and an account: the options of the provider, completed from environment variables."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final

import msgspec

from llmcore.errors import ConfigError
from llmcore.support.addresses import find_address_fault
from llmcore.support.digests import start_sha256
from llmcore.support.text import find_unsendable
from llmcore.types import Secret
from llmcore_openai_optimized.options import AccountOptions, OpenAIOptions, PricingTier
from llmcore_openai_optimized.url_correction import repair_url

__all__ = [
    "OFFICIAL",
    "Account",
    "AccountOptions",
    "OpenAIOptions",
    "PricingTier",
    "Vendor",
    "check_headers",
    "find_key",
    "get_identity",
    "make_identity",
]

OFFICIAL: Final = "https://api.openai.com/v1"

_ADDRESS: Final = re.compile(r"https?://[^\s/@?#]+([/?#]|$)")
"""Matches an address without user name and password. Errors show the address, so it must not contain a secret."""

_HIDES: Final = re.compile(r"[@?#\s]")
"""An address with one of these characters may contain a secret, so it is not shown."""

_OF_THE_CLIENT: Final = frozenset({"content-length", "expect", "transfer-encoding"})
"""Headers that only the client may set. A wrong value of such a header makes the client hang, or send half a
request.
"""

_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class Vendor(msgspec.Struct, frozen=True, kw_only=True):
    """A server, with its provider name and the other facts that requests and errors need."""

    name: str
    """The provider name."""
    url: str
    """The default address."""
    key_variables: tuple[str, ...]
    """The variables that may hold the key, in order."""
    needs_key: bool = True
    """True if the server requires a key. If so, llmcore sends no request without a key."""
    example_key: str = "..."
    """An example of a key, shown in the command that sets the key."""
    reports_usage_unasked: bool = False
    """True if the server ends each stream with the usage, without being asked by `stream_options`."""
    start: str | None = None
    """The command that starts the server on this machine."""
    get_model: str | None = None
    """The command that downloads a missing model. The command contains the placeholder `{model}`."""


_OPENAI: Final = Vendor(name="openai", url=OFFICIAL, key_variables=("OPENAI_API_KEY",), example_key="sk-...")


_AZURE: Final = msgspec.structs.replace(
    _OPENAI, key_variables=("AZURE_OPENAI_AD_TOKEN", "AZURE_OPENAI_API_KEY", "OPENAI_API_KEY")
)


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """The complete server and account settings."""

    base_url: str
    organization: str | None = None
    project: str | None = None
    azure_endpoint: str | None = None
    api_version: str | None = None
    key: Secret | None
    key_source: str
    """The variable or option that contains, or should contain, the key."""
    bearer: bool = True
    """True if the key is sent as `Authorization`; keys of Azure are sent as `api-key`."""
    table: str = "llm.openai"
    """The configuration table of the options."""
    url_variable: str | None = None
    """The environment variable that contains the address.

    None if the address is in the configuration table, or is the default address.
    """
    vendor: Vendor = _OPENAI

    @property
    def url_option(self) -> str:
        """The option or variable of the address."""
        return self.url_variable or ("azure_endpoint" if self.azure_endpoint else "base_url")

    def make_url_fix(self, url: str) -> str:
        """Return the command that sets the address to *url*."""
        if self.url_variable:
            return f"export {self.url_variable}={url}"
        return f"llmcore config set {self.table}.{self.url_option} {url}"

    @property
    def shown_url(self) -> str:
        """The address without the query, because the query may contain a key."""
        return self.base_url.partition("?")[0]

    def make_address_error(self, fault: str) -> ConfigError:
        """Return the error for an invalid address; *fault* is the reason."""
        address = self.azure_endpoint or self.base_url
        repaired = repair_url(address)
        if repaired is not None and (find_address_fault(repaired) or not _ADDRESS.match(repaired)):
            repaired = None
        example = "https://example.openai.azure.com" if self.azure_endpoint else self.vendor.url
        shown = f"`{address}` in " if repaired and not _HIDES.search(address) else ""
        return ConfigError(
            f"{shown}`{self.url_option}` is not a valid server address" + (f": {fault}" if fault else ""),
            code="LC203",
            where=self.url_option if self.url_variable else f"[{self.table}] {self.url_option}",
            expected="http:// or https:// and a host, without user name or password",
            suggestion=repaired,
            fix=self.make_url_fix(repaired or example),
        )

    @classmethod
    def from_options(cls, options: AccountOptions) -> Account:
        """Complete *options* from the environment.

        Raises:
            ConfigError: The Azure options are incomplete, or used together with `base_url`.
        """
        endpoint, version = options.azure_endpoint, options.api_version
        if endpoint or version:
            return cls._from_azure(options, endpoint or _read_variable("AZURE_OPENAI_ENDPOINT"))
        key, source = find_key(options.api_key, _OPENAI)
        configured, named = (options.base_url or "").strip(), _read_variable("OPENAI_BASE_URL")
        return cls(
            base_url=(configured or named or OFFICIAL).rstrip("/"),
            organization=_strip(options.organization) or _read_variable("OPENAI_ORG_ID"),
            project=_strip(options.project) or _read_variable("OPENAI_PROJECT_ID"),
            url_variable="OPENAI_BASE_URL" if named and not configured else None,
            azure_endpoint=None,
            api_version=None,
            key=key,
            key_source=source,
        )

    @classmethod
    def _from_azure(cls, options: AccountOptions, endpoint: str | None) -> Account:
        version = options.api_version or _read_variable("OPENAI_API_VERSION")
        if not endpoint or not version:
            missing = "api_version" if endpoint else "azure_endpoint"
            example = "2024-10-21" if endpoint else "https://example.openai.azure.com"
            raise ConfigError(
                f"Azure needs `{missing}`, which is not set",
                code="LC203",
                where=f"[llm.openai] {missing}",
                expected="both azure_endpoint and api_version",
                fix=f"llmcore config set llm.openai.{missing} {example}",
            )
        if (options.base_url or "").strip():
            raise ConfigError(
                "`base_url` and `azure_endpoint` are both set; only one is allowed",
                code="LC203",
                where="[llm.openai] base_url",
                expected="base_url for an OpenAI-compatible server, or azure_endpoint for Azure",
                fix="remove base_url from [llm.openai]",
            )
        endpoint = endpoint.strip().rstrip("/")
        key, source = find_key(options.api_key, _AZURE)
        return cls(
            base_url=f"{endpoint}/openai",
            organization=_strip(options.organization) or _read_variable("OPENAI_ORG_ID"),
            project=None,
            azure_endpoint=endpoint,
            api_version=version.strip(),
            url_variable=None if options.azure_endpoint else "AZURE_OPENAI_ENDPOINT",
            key=key,
            key_source=source,
            bearer=source == "AZURE_OPENAI_AD_TOKEN",
        )

    def validate(self) -> Account:
        """Check that requests can be sent; return this account.

        Raises:
            ConfigError: The key is missing or has characters that a header cannot contain, or the address is invalid.
        """
        fault = find_address_fault(self.base_url)
        if fault is not None or not _ADDRESS.match(self.base_url):
            raise self.make_address_error(fault or "")
        for name in ("organization", "project"):
            if fault := find_unsendable(getattr(self, name) or ""):
                raise _make_header_error(name, fault, self.table)
        if self.key is None and self.vendor.needs_key:
            local = self.base_url != self.vendor.url
            raise ConfigError(
                f"no API key for the llm provider `{self.vendor.name}`: {self.key_source} is not set",
                code="LC201",
                where=f"[{self.table}] api_key",
                expected=f"the key in the environment variable {self.key_source}",
                notes=(
                    "for a server without authentication, any text works as a key"
                    if local
                    else 'provider = "echo" in [llm] works without a key and costs nothing',
                ),
                fix=f"export {self.key_source}={'unused' if local else self.vendor.example_key}",
            )
        if self.key is not None and (fault := find_unsendable(self.key.reveal(), spaces=False)):
            raise ConfigError(
                f"the API key from {self.key_source} contains characters that an HTTP header cannot contain: {fault}",
                code="LC204",
                where=f"[{self.table}] api_key",
                expected="printable ASCII without spaces",
                fix=f"copy the key again into {self.key_source}",
            )
        return self


def get_identity(options: AccountOptions) -> dict[str, str]:
    """Return the settings that affect an answer, for the cache key: address and account."""
    return make_identity(Account.from_options(options), options.headers)


def make_identity(account: Account, headers: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of *account* that affect an answer, and a digest of *headers*; see `get_identity`."""
    identity = {"base_url": account.base_url}
    for name in ("organization", "project", "api_version"):
        value = getattr(account, name)
        if value:
            identity[name] = value
    if not (account.organization or account.project):
        identity["key"] = _digest(account.key.reveal()) if account.key else ""
    if headers:
        identity["headers"] = _digest(repr(sorted(headers.items())))
    return identity


def find_key(configured: Secret | None, vendor: Vendor) -> tuple[Secret | None, str]:
    """Return the key, and the option or variable that contains it.

    If there is no key, return None and the variable that should contain it.
    """
    if configured is not None and configured.reveal().strip():
        return Secret(configured.reveal().strip()), f"[llm.{vendor.name}] api_key"
    variables = vendor.key_variables
    for name in variables:
        value = _read_variable(name)
        if value:
            return Secret(value), name
    return None, vendor.key_variables[1 if vendor is _AZURE else 0]


def _strip(text: str | None) -> str:
    return (text or "").strip()


def _read_variable(name: str) -> str | None:
    """Return the variable without surrounding white space; None if it is empty."""
    return os.environ.get(name, "").strip() or None


def _make_header_error(option: str, fault: str, table: str) -> ConfigError:
    """Return the error for an option that cannot be sent as an HTTP header."""
    return ConfigError(
        f"`{option}` cannot be sent as an HTTP header: {fault}",
        code="LC204",
        where=f"[{table}] {option}",
        expected="a value of printable ASCII characters, in a header that the application may set",
    )


def check_headers(headers: Mapping[str, str], table: str) -> dict[str, str]:
    """Return the headers of the options, without surrounding white space.

    Raises:
        ConfigError: A name or a value cannot be sent. The value is not shown, since it may contain a key.
    """
    checked = {}
    for name, value in headers.items():
        if name.lower() in _OF_THE_CLIENT:
            raise _make_header_error(f"headers.{name}", "only the HTTP client may set this header", table)
        if not _HEADER_NAME.fullmatch(name):
            fault = find_unsendable(name, spaces=False) or "it is not a header name"
            raise _make_header_error(f"headers.{name!a}", fault, table)
        checked[name] = value.strip()
        unsendable = find_unsendable(checked[name])
        if unsendable is not None:
            raise _make_header_error(f"headers.{name}", unsendable, table)
    return checked


def _digest(text: str) -> str:
    return start_sha256(text.encode()).hexdigest()[:32]
