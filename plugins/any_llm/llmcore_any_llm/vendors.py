"""The providers of any-llm. This plugin calls them vendors: in `mistral:mistral-small-latest`, `mistral` is the vendor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from llmcore.errors import BadRequest

__all__ = ["LOCAL", "PRICES", "VENDORS", "VendorModel", "split_model"]

VENDORS: Final = frozenset(
    {
        "anthropic", "atlascloud", "azure", "azureanthropic", "azureopenai", "bedrock", "cascadia", "cerebras", "cohere",
        "dashscope", "databricks", "deepinfra", "deepseek", "edenai", "fireworks", "gemini", "github", "gmi", "groq",
        "huggingface", "inception", "kenari", "liner", "llama", "llamacpp", "llamafile", "lmstudio", "meta", "minimax",
        "mistral", "moonshot", "mzai", "nebius", "neosantara", "ollama", "openai", "openrouter", "otari", "ovhcloud",
        "perplexity", "portkey", "qiniu", "requesty", "sagemaker", "sambanova", "telnyx", "together", "typesafe",
        "vertexai", "vertexaianthropic", "vllm", "voyage", "watsonx", "xai", "zai",
    }
)  # fmt: skip
"""The vendors of any-llm 1.40.

Because of this list, any-llm need not be imported before the first call. A vendor that is not in the list works
too, unless [llm.any_llm] sets a default `vendor`.
"""

LOCAL: Final[Mapping[str, str]] = {
    "llamacpp": "LLAMACPP_API_BASE", "llamafile": "LLAMAFILE_API_BASE", "lmstudio": "LM_STUDIO_API_BASE",
    "ollama": "OLLAMA_HOST", "vllm": "VLLM_API_BASE",
}  # fmt: skip
"""Vendor -> the environment variable from which any-llm reads the address, for programs that users run themselves.

The answers of such a program are free if it runs on this machine. any-llm uses this machine if no address is set.
"""

PRICES: Final[Mapping[str, str]] = {
    "azureopenai": "azure", "bedrock": "aws", "gemini": "google", "moonshot": "moonshotai", "vertexai": "google",
    "xai": "x-ai",
}  # fmt: skip
"""Vendor -> its name in genai-prices, for vendors that have another name there."""


class VendorModel(NamedTuple):
    """A model of one vendor."""

    vendor: str
    model: str


def split_model(name: str, default: str | None) -> VendorModel:
    """Return vendor and model of *name*, such as "mistral:mistral-small-latest".

    Args:
        name: The name of the model in the request.
        default: The vendor of a model without a vendor in front.

    Raises:
        BadRequest: No vendor is named.
    """
    head, colon, model = name.partition(":")
    if colon and model and (default is None or head in VENDORS):
        return VendorModel(head, model)
    if default is not None:
        return VendorModel(default, name)
    raise BadRequest(
        f"model must name a vendor of any-llm and its model, got `{name}`",
        provider="any_llm",
        code="LC308",
        where="model",
        expected='"VENDOR:MODEL", such as "mistral:mistral-small-latest", or `vendor` in [llm.any_llm]',
        fix=f'model="any_llm:VENDOR:{name}"',
    )
