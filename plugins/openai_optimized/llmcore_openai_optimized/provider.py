"""The LLM provider `openai`: OpenAI, Azure and compatible servers."""

from __future__ import annotations

from llmcore_openai_optimized.account import Account, OpenAIOptions
from llmcore_openai_optimized.batch_client import OpenAIBatches
from llmcore_openai_optimized.client import OpenAIClient
from llmcore_openai_optimized.offline import Offline

__all__ = ["OpenAIProvider"]


class OpenAIProvider(Offline, OpenAIBatches):
    """Implement all contracts of a language model; see `OpenAIClient`, `OpenAIBatches` and `Offline`."""

    def __init__(self, options: OpenAIOptions) -> None:
        """Prepare requests to the server of *options*; send nothing.

        Raises:
            ConfigError: See `OpenAIClient`; or the options contradict each other.
        """
        account = Account.from_options(options)
        Offline.__init__(self, options.pricing_tier, azure=account.azure_endpoint is not None)
        OpenAIClient.__init__(self, account, options.headers)
