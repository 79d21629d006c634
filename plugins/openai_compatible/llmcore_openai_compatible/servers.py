"""The servers of this plugin: the address, the key, and the differences from OpenAI.

Sources, read 2026-11: the vendors' API references, and ollama/ollama#7125 (`max_completion_tokens` is ignored),
dnakov/anon-kode#53 and editor-code-assistant/eca#231 (Mistral refuses `stream_options` and `max_completion_tokens`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

import msgspec

from llmcore_openai_optimized.account import Vendor

__all__ = ["PARAMETERS", "SERVERS", "Server"]

PARAMETERS: Final = frozenset(
    {
        "frequency_penalty", "logit_bias", "logprobs", "max_completion_tokens", "max_tokens", "metadata", "n",
        "parallel_tool_calls", "presence_penalty", "reasoning_effort", "response_format", "seed", "stop", "stream_options",
        "temperature", "tool_choice", "tools", "top_logprobs", "top_p", "user",
    }
)  # fmt: skip
"""The parameters of Chat Completions that servers other than OpenAI implement.

Other parameters go into `extra_body`.
"""

_OLD_LIMIT: Final = MappingProxyType({"max_completion_tokens": "max_tokens"})


class Server(Vendor, frozen=True, kw_only=True):
    """A provider of this plugin."""

    local: bool = False
    """True if users run the server themselves. Such a server needs no key, and its answers are free if it runs on this
    machine.
    """
    url_variable: str | None = None
    """The environment variable of the address."""
    lacks: frozenset[str] = frozenset()
    """The parameters that the server refuses or ignores. For a call with such a parameter, llmcore raises an error."""
    renames: Mapping[str, str] = msgspec.field(default_factory=dict)
    """OpenAI's name of a parameter -> the server's name."""
    has_schemas: bool = True
    """True if `response_format` may contain a schema."""
    has_developer: bool = False
    """True if the server accepts messages with the role `developer`. For other servers, the role becomes `system`."""
    context: Literal["show", "props", "v0", "list"] | None = None
    """The way in which the server reports the context length of a model; see `context.make_query`.

    None if the server reports no context length.
    """
    list_prefix: str = ""
    """The prefix of each name in the server's list of models."""
    prices: str | None = None
    """The server's name in genai-prices."""
    default_port: int = 80


SERVERS: Final[Mapping[str, Server]] = {
    server.name: server
    for server in (
        Server(
            name="ollama",
            url="http://127.0.0.1:11434/v1",
            url_variable="OLLAMA_HOST",
            default_port=11434,
            key_variables=("OLLAMA_API_KEY",),
            needs_key=False,
            local=True,
            lacks=frozenset({"logit_bias", "metadata", "n", "parallel_tool_calls"}),
            renames=_OLD_LIMIT,
            context="show",
            start="ollama serve",
            get_model="ollama pull {model}",
        ),
        Server(
            name="vllm",
            url="http://127.0.0.1:8000/v1",
            key_variables=("VLLM_API_KEY",),
            needs_key=False,
            local=True,
            context="list",
        ),
        Server(
            name="llama_cpp",
            url="http://127.0.0.1:8080/v1",
            key_variables=("LLAMA_API_KEY",),
            needs_key=False,
            local=True,
            renames=_OLD_LIMIT,
            context="props",
        ),
        Server(
            name="lmstudio",
            url="http://127.0.0.1:1234/v1",
            key_variables=("LM_API_TOKEN",),
            needs_key=False,
            local=True,
            lacks=frozenset({"n"}),
            renames=_OLD_LIMIT,
            context="v0",
            start="lms server start",
            get_model="lms get {model}",
        ),
        Server(
            name="openrouter",
            url="https://openrouter.ai/api/v1",
            key_variables=("OPENROUTER_API_KEY",),
            example_key="sk-or-...",
            has_developer=True,
            context="list",
            prices="openrouter",
        ),
        Server(
            name="groq",
            url="https://api.groq.com/openai/v1",
            key_variables=("GROQ_API_KEY",),
            example_key="gsk_...",
            lacks=frozenset({"logit_bias", "logprobs", "n", "top_logprobs"}),
            context="list",
            prices="groq",
        ),
        Server(
            name="deepseek",
            url="https://api.deepseek.com/v1",
            key_variables=("DEEPSEEK_API_KEY",),
            example_key="sk-...",
            lacks=frozenset({"logit_bias", "metadata", "n", "parallel_tool_calls", "seed"}),
            renames=_OLD_LIMIT,
            has_schemas=False,
            prices="deepseek",
        ),
        Server(
            name="mistral",
            url="https://api.mistral.ai/v1",
            key_variables=("MISTRAL_API_KEY",),
            lacks=frozenset({"logit_bias", "logprobs", "stream_options", "top_logprobs", "user"}),
            renames=MappingProxyType({**_OLD_LIMIT, "seed": "random_seed"}),
            reports_usage_unasked=True,
            context="list",
            prices="mistral",
        ),
        Server(
            name="together",
            url="https://api.together.xyz/v1",
            key_variables=("TOGETHER_API_KEY",),
            renames=_OLD_LIMIT,
            context="list",
            prices="together",
        ),
        Server(
            name="gemini",
            url="https://generativelanguage.googleapis.com/v1beta/openai",
            key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
            lacks=frozenset({"logit_bias", "logprobs", "metadata", "top_logprobs", "user"}),
            list_prefix="models/",
            prices="google",
        ),
    )
}
