"""Context windows and output limits of OpenAI's models, by family.

Sources, read 2026-11: `context_window` of genai-prices 0.2.3, and `max_input_tokens` and `max_output_tokens` of the table
inside litellm 1.109.1, which cites https://developers.openai.com/api/docs/models. If the sources differ, the larger
value is used, because this table is for upper bounds.
"""

from __future__ import annotations

import functools
import re
from typing import Final, NamedTuple

__all__ = ["Window", "find_window", "has_cache_write_fee", "normalise_model"]


class Window(NamedTuple):
    """The context window and output limit of a model."""

    context: int
    """Maximum tokens of prompt and answer together."""
    output: int
    """Maximum tokens of one answer, including reasoning."""


_WINDOWS: Final = tuple(
    (re.compile(pattern), window)
    for pattern, window in (
        # Other models of gpt-6 are unknown, such as gpt-6.2, which the vendor's SDK listed before its sizes were
        # published.
        (r"gpt-6(?:\.1)?-(?:astra|sol|terra|luna|rosalind)", Window(1_050_000, 128_000)),
        (r"gpt-5[.-][4-6](?!.*(?:mini|nano|cyber|image))", Window(1_050_000, 128_000)),
        (r"gpt-5-pro", Window(400_000, 272_000)),
        (r"gpt-5(?!.*image)", Window(400_000, 128_000)),
        (r"gpt-4\.1", Window(1_047_576, 32_768)),
        (r"gpt-4\.5", Window(128_000, 16_384)),
        (r"gpt-4o-2024-05-13", Window(128_000, 4_096)),
        (r"gpt-4o(?!:|.*(?:realtime|transcribe|tts|64k))|chatgpt-4o|gpt-audio", Window(128_000, 16_384)),
        (r"gpt-4-32k", Window(32_768, 32_768)),
        (r"gpt-4-(?:turbo|1106|0125|vision)", Window(128_000, 4_096)),
        (r"gpt-4(?:$|-0)", Window(8_192, 8_192)),
        (r"gpt-3\.?5-turbo-16k", Window(16_385, 16_385)),
        (r"gpt-3\.?5-turbo", Window(16_385, 4_096)),
        (r"o1-preview", Window(128_000, 32_768)),
        (r"o1-mini", Window(128_000, 65_536)),
        (r"o[134](?:$|-)", Window(200_000, 100_000)),
        (r"gpt-oss", Window(131_072, 131_072)),
    )
)

_WRITES_ARE_FREE: Final = re.compile(r"gpt-(?:3|4|oss|audio|5(?![.-]6))|chatgpt-4o|o[134](?:$|-)")
"""Models before gpt-5.6, which is the first model with a price for writes to the prompt cache."""


def normalise_model(model: str) -> str:
    """Return the name in lower case; for a fine-tuned model, return the name of its base model."""
    name = model.lower()
    return name.split(":")[1] if name.startswith("ft:") else name


@functools.lru_cache(maxsize=1024)
def find_window(model: str) -> Window | None:
    """Return the limits of *model*, by its name at OpenAI; None if unknown."""
    name = normalise_model(model)
    return next((window for pattern, window in _WINDOWS if pattern.match(name)), None)


def has_cache_write_fee(model: str) -> bool:
    """Return whether cache writes may cost more than plain input; True for unknown models."""
    return not _WRITES_ARE_FREE.match(normalise_model(model))
