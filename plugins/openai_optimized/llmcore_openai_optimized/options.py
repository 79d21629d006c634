"""The options of the language model and the voice `openai`."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from llmcore.hookspecs import Options
from llmcore.types import Secret

__all__ = [
    "BILL_KEY_VARIABLE",
    "BILL_TABLE",
    "AccountOptions",
    "OpenAIBillOptions",
    "OpenAIOptions",
    "PricingTier",
    "SpeechOptions",
]

BILL_TABLE: Final = "openai_bill"
BILL_KEY_VARIABLE: Final = "OPENAI_ADMIN_KEY"
"""The variable that the vendor's SDK reads too."""

PricingTier = Literal["standard", "batch", "flex", "priority", "fast"]


class AccountOptions(Options, frozen=True, kw_only=True):
    """The server and the account. Missing options come from the environment variables of the vendor's SDK."""

    api_key: Secret | None = None
    """A reference such as "env:OPENAI_API_KEY", which is the default."""
    base_url: str | None = None
    """The address of an OpenAI-compatible server. Default: OPENAI_BASE_URL, or the address of OpenAI."""
    organization: str | None = None
    """Default: OPENAI_ORG_ID."""
    project: str | None = None
    """Default: OPENAI_PROJECT_ID."""
    azure_endpoint: str | None = None
    """The address of Azure, such as "https://example.openai.azure.com"; the model is then the name of a deployment."""
    api_version: str | None = None
    """The API version of Azure. Default: OPENAI_API_VERSION."""
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    """Additional headers of every request."""

    def __repr__(self) -> str:
        """Show all options, but hide values that may contain keys.

        These are the values in `headers` and `extra_body`, and the query of `base_url`.
        """
        shown = {name: getattr(self, name) for name in self.__struct_fields__}
        for name in ("headers", "extra_body"):  # values may contain keys
            if name in shown:
                shown[name] = dict.fromkeys(shown[name], "…")
        shown["base_url"] = self.base_url and self.base_url.partition("?")[0]
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


class OpenAIOptions(AccountOptions, frozen=True, kw_only=True):
    """The table `[llm.openai]`."""

    pricing_tier: PricingTier = "standard"
    """The pricing tier of answers that do not name their tier."""
    extra_body: dict[str, Any] = msgspec.field(default_factory=dict)
    """Parameters of some servers, sent with every chat: top_k, chat_template_kwargs, ..."""


class OpenAIBillOptions(Options, frozen=True, kw_only=True):
    """How `llmcore usage reconcile` reads the bill: the table `[openai_bill]`."""

    admin_key: Secret | None = None
    """A reference such as "env:OPENAI_ADMIN_KEY", which is the default."""
    base_url: str | None = None
    """The address of the reports, with `/v1`. Default: OpenAI's own address."""
    api_key_ids: tuple[str, ...] = ()
    """The ids of the API keys whose calls are in the ledger, such as "key_abc". Default: all."""
    project_ids: tuple[str, ...] = ()
    """The ids of the projects whose calls are in the ledger. Default: all."""


class SpeechOptions(AccountOptions, frozen=True, kw_only=True):
    """The table `[voice.openai]`. The options of server and account are the same as in `[llm.openai]`."""

    voice: Annotated[
        str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}\Z", description="the id of a voice")
    ] = "alloy"
    model: Annotated[str, msgspec.Meta(min_length=1)] = "tts-1"
    """OpenAI shuts down tts-1, tts-1-hd and gpt-4o-mini-tts on 2027-01-06."""
    format: Literal["mp3", "wav", "pcm", "opus", "aac", "flac"] = "mp3"
    """mp3, wav, pcm, opus, aac or flac."""
    speed: Annotated[float, msgspec.Meta(ge=0.25, le=4)] | None = None
    """0.25 to 4.0."""
    instructions: str | None = None
    """Instructions for the speaking style; not for tts-1 and tts-1-hd."""
    concurrency: Annotated[int, msgspec.Meta(ge=1)] = 4
    """Maximum concurrent requests for the pieces of one text."""
