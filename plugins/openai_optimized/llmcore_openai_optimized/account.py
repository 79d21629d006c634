"""Which server is asked, and on whose account: the options, completed from the environment."""

from __future__ import annotations

import hashlib
import os
import re
from typing import Final, Literal

import msgspec

from llmcore.errors import ConfigError
from llmcore.hookspecs import Options
from llmcore.types import Secret

__all__ = ["Account", "AccountOptions", "OpenAIOptions", "PricingTier", "identity_of"]

PricingTier = Literal["standard", "batch", "flex", "priority", "fast"]

OFFICIAL: Final = "https://api.openai.com/v1"

_ADDRESS: Final = re.compile(r"https?://[^\s/@?#]+([/?#]|$)")
"""A password in an address would show in errors, and go where the key goes."""


class AccountOptions(Options, frozen=True, kw_only=True):
    """Whose server, and whose account. What is left out comes from the variables that the vendor's SDK reads."""

    api_key: Secret | None = None
    """A reference such as "env:OPENAI_API_KEY", which is also what is read when it is left out."""
    base_url: str | None = None
    """Any OpenAI-compatible server; else OPENAI_BASE_URL, else OpenAI's own."""
    organization: str | None = None
    """Else OPENAI_ORG_ID."""
    project: str | None = None
    """Else OPENAI_PROJECT_ID."""
    azure_endpoint: str | None = None
    """Such as "https://example.openai.azure.com": asks Azure, where the model is a deployment's name."""
    api_version: str | None = None
    """Azure's; else OPENAI_API_VERSION."""
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    """Sent along with every request."""

    def __repr__(self) -> str:
        """Show every option but what may hold a key: the values of headers, and a query."""
        shown = {name: getattr(self, name) for name in self.__struct_fields__}
        shown["headers"] = dict.fromkeys(self.headers, "…")
        shown["base_url"] = self.base_url and self.base_url.partition("?")[0]
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


class OpenAIOptions(AccountOptions, frozen=True, kw_only=True):
    """The table `[llm.openai]`."""

    pricing_tier: PricingTier = "standard"
    """What the account pays where an answer does not name the tier that served it."""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Where requests go and who pays, with nothing left open."""

    base_url: str
    organization: str | None
    project: str | None
    azure_endpoint: str | None
    api_version: str | None
    key: Secret | None
    key_source: str
    """Where the key stands, or would have to."""
    bearer: bool = True
    """Whether the key goes into `Authorization`; Azure's own keys have a header of theirs."""

    @property
    def shown_url(self) -> str:
        """The address as it may be shown: without a query, which may hold a key."""
        return self.base_url.partition("?")[0]

    @classmethod
    def of(cls, options: AccountOptions) -> Account:
        """Complete *options* from the environment.

        Raises:
            ConfigError: Azure is named by half, or beside another address.
        """
        endpoint, version = options.azure_endpoint, options.api_version
        if endpoint or version:
            return cls._azure(options, endpoint or _variable("AZURE_OPENAI_ENDPOINT"))
        key, source = _key(options, ("OPENAI_API_KEY",))
        return cls(
            base_url=(options.base_url or _variable("OPENAI_BASE_URL") or OFFICIAL).rstrip("/"),
            organization=options.organization or _variable("OPENAI_ORG_ID"),
            project=options.project or _variable("OPENAI_PROJECT_ID"),
            azure_endpoint=None,
            api_version=None,
            key=key,
            key_source=source,
        )

    @classmethod
    def _azure(cls, options: AccountOptions, endpoint: str | None) -> Account:
        version = options.api_version or _variable("OPENAI_API_VERSION")
        if not endpoint or not version:
            missing = "api_version" if endpoint else "azure_endpoint"
            example = "2024-10-21" if endpoint else "https://example.openai.azure.com"
            raise ConfigError(
                f"Azure is configured without `{missing}`",
                code="LC203",
                where=f"[llm.openai] {missing}",
                expected="both azure_endpoint and api_version",
                fix=f"llmcore config set llm.openai.{missing} {example}",
            )
        if options.base_url:
            raise ConfigError(
                "both `base_url` and `azure_endpoint` are configured, and only one server can be asked",
                code="LC203",
                where="[llm.openai] base_url",
                expected="base_url for an OpenAI-compatible server, or azure_endpoint for Azure",
                fix="remove base_url from [llm.openai]",
            )
        key, source = _key(options, ("AZURE_OPENAI_AD_TOKEN", "AZURE_OPENAI_API_KEY", "OPENAI_API_KEY"))
        return cls(
            base_url=endpoint.rstrip("/") + "/openai",
            organization=options.organization or _variable("OPENAI_ORG_ID"),
            project=None,
            azure_endpoint=endpoint.rstrip("/"),
            api_version=version,
            key=key,
            key_source=source,
            bearer=source == "AZURE_OPENAI_AD_TOKEN",
        )

    def signed(self) -> Account:
        """Return this account, to which requests can be sent.

        Raises:
            ConfigError: It has no key, or one that no header can hold, or its address is none.
        """
        if not _ADDRESS.match(self.base_url):
            name = "azure_endpoint" if self.azure_endpoint else "base_url"
            raise ConfigError(
                f"`{name}` is not the address of a server",
                code="LC203",
                where=f"[llm.openai] {name}",
                expected="http:// or https://, a host, and no name or password in it",
                fix=f"llmcore config set llm.openai.{name} {OFFICIAL}",
            )
        if self.key is None:
            local = self.base_url != OFFICIAL
            raise ConfigError(
                f"no API key for the llm provider `openai`: {self.key_source} is not set",
                code="LC201",
                where="[llm.openai] api_key",
                expected=f"the key in the environment variable {self.key_source}",
                notes=(
                    "a server that asks for no key takes any text for one"
                    if local
                    else 'without a key, provider = "echo" in [llm] tries everything at no cost',
                ),
                fix=f"export {self.key_source}={'unused' if local else 'sk-...'}",
            )
        if not _sendable(self.key.reveal()):
            raise ConfigError(
                f"the API key from {self.key_source} holds characters that no HTTP header can hold",
                code="LC204",
                where="[llm.openai] api_key",
                expected="printable ASCII without spaces",
                fix=f"copy the key again into {self.key_source}",
            )
        return self


def identity_of(options: AccountOptions) -> dict[str, str]:
    """Return what decides an answer besides the request: the address and the account."""
    account = Account.of(options)
    identity = {"base_url": account.base_url}
    for name in ("organization", "project", "api_version"):
        value = getattr(account, name)
        if value:
            identity[name] = value
    if not (account.organization or account.project):
        identity["key"] = _digest(account.key.reveal()) if account.key else ""
    if options.headers:
        identity["headers"] = _digest(repr(sorted(options.headers.items())))
    return identity


def _key(options: AccountOptions, variables: tuple[str, ...]) -> tuple[Secret | None, str]:
    """Return the key and where it stands; without one, the variable that is to hold it."""
    if options.api_key is not None and options.api_key.reveal().strip():
        return Secret(options.api_key.reveal().strip()), "[llm.openai] api_key"
    for name in variables:
        value = _variable(name)
        if value:
            return Secret(value), name
    return None, variables[1] if len(variables) > 1 else variables[0]


def _variable(name: str) -> str | None:
    """Return the variable without the line end that files and pipes leave; None where it is empty."""
    return os.environ.get(name, "").strip() or None


def _sendable(key: str) -> bool:
    return key.isascii() and key.isprintable() and " " not in key


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
