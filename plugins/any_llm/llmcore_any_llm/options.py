"""The table `[llm.any_llm]`."""

from __future__ import annotations

import hashlib
import os
import re
from typing import Any, Final

import msgspec

from llmcore.hookspecs import Options
from llmcore.types import Secret

__all__ = ["AnyLLMOptions", "make_identity"]

_READ_BY_SDKS: Final = re.compile(
    r"[A-Z0-9_]+_(?:API_KEY|API_BASE|BASE_URL|ENDPOINT|ENDPOINT_URL|API_TOKEN)|HF_TOKEN|GITHUB_TOKEN|OLLAMA_HOST"
    r"|AWS_ACCESS_KEY_ID|AWS_REGION|AWS_DEFAULT_REGION|WATSONX_URL"
)
"""The environment variables of keys and addresses that any-llm and the vendors' SDKs read."""


class AnyLLMOptions(Options, frozen=True, kw_only=True):
    """The table `[llm.any_llm]`, or the table of an instance with `use = "any_llm"`."""

    vendor: str | None = None
    """The vendor of models without a vendor in their name, such as "mistral".

    `list_models` lists the models of this vendor.
    """
    api_key: Secret | None = None
    """A reference to the key. Default: the variable that any-llm reads for the vendor, such as MISTRAL_API_KEY."""
    api_base: str | None = None
    """The address of the server. Default: the vendor's address."""
    client_args: dict[str, Any] = msgspec.field(default_factory=dict)
    """Further arguments of the vendor's client in any-llm."""
    extra_body: dict[str, Any] = msgspec.field(default_factory=dict)
    """Parameters of the vendor, sent with every chat."""

    def __repr__(self) -> str:
        """Show the options without values that may contain keys."""
        shown: dict[str, Any] = {name: getattr(self, name) for name in self.__struct_fields__}
        for name in ("client_args", "extra_body"):
            shown[name] = dict.fromkeys(shown[name], "…")
        shown["api_base"] = self.api_base and self.api_base.partition("?")[0]
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


def make_identity(options: AnyLLMOptions) -> dict[str, str]:
    """Return the settings that can change an answer: vendor, address, account, and arguments of the client.

    The vendor decides which environment variables its SDK reads, and only a request names the vendor. So the result
    contains a digest of all variables that any SDK may read, unless the options set both the key and the address.
    """
    key = options.api_key.reveal() if options.api_key else ""
    variables = sorted(item for item in os.environ.items() if _READ_BY_SDKS.fullmatch(item[0]))
    return {
        "vendor": options.vendor or "",
        "base_url": options.api_base or "",
        "key": _digest(key),
        "variables": "" if key and options.api_base else _digest(repr(variables)),
        "client": _digest(repr(sorted(options.client_args.items(), key=repr))),
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]
