"""The account: the address of the server, and the key from the options or the environment."""

from __future__ import annotations

import hashlib
import os
import re
from typing import Final

import msgspec

from llmcore.errors import ConfigError
from llmcore.support.addresses import find_address_fault
from llmcore.support.text import find_unsendable
from llmcore.types import Secret
from llmcore_voice_tts.options import OFFICIAL, ElevenLabsOptions

__all__ = ["Account"]

_VARIABLE: Final = "ELEVENLABS_API_KEY"

_ADDRESS: Final = re.compile(r"https?://[^\s/@?#]+(/[^\s?#]*)?")
"""Matches an address without password and query. Errors show the address, so it must not contain a secret."""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """The server and the key."""

    base_url: str
    configured: Secret | None

    @classmethod
    def from_options(cls, options: ElevenLabsOptions) -> Account:
        """Return the account of *options*."""
        return cls(base_url=options.base_url.strip().rstrip("/"), configured=options.api_key)

    @property
    def key_source(self) -> str:
        """The variable or option that contains, or should contain, the key."""
        return "[voice.elevenlabs] api_key" if self.configured is not None else _VARIABLE

    def find_key(self) -> str | None:
        """Return the key; None if it is missing.

        The environment variable is read at each call, because the application may set it later.
        """
        found = os.environ.get(_VARIABLE, "") if self.configured is None else self.configured.reveal()
        return found.strip() or None

    def digest(self) -> str:
        """Return a digest of the key to distinguish accounts; empty without a key."""
        key = self.find_key()
        return "" if key is None else hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:32]

    def check(self) -> None:
        """Raise ConfigError if the address is invalid, or the key is missing or invalid."""
        fault = find_address_fault(self.base_url)
        if fault is not None or not _ADDRESS.fullmatch(self.base_url):
            raise ConfigError(
                "`base_url` is not a valid server address" + (f": {fault}" if fault else ""),
                code="LC203",
                where="[voice.elevenlabs] base_url",
                expected="http:// or https:// and a host, without user name, password or query",
                fix=f"llmcore config set voice.elevenlabs.base_url {OFFICIAL}",
            )
        self.check_key()

    def check_key(self) -> None:
        """Raise ConfigError if the key is missing or has characters that a header cannot contain."""
        key = self.find_key()
        if key is None:
            raise ConfigError(
                f"no API key for the voice provider `elevenlabs`: {self.key_source} is not set",
                code="LC201",
                where="[voice.elevenlabs] api_key",
                expected=f"the key in the environment variable {_VARIABLE}",
                notes=('provider = "espeak" in [voice] works without a key and costs nothing',),
                fix=f"export {_VARIABLE}=sk_...",
            )
        unsendable = find_unsendable(key, spaces=False)
        if unsendable is not None:
            raise ConfigError(
                f"the API key from {self.key_source} contains characters that an HTTP header cannot contain: {unsendable}",
                code="LC204",
                where="[voice.elevenlabs] api_key",
                expected="printable ASCII without spaces",
                fix=f"copy the key again into {_VARIABLE}",
            )
