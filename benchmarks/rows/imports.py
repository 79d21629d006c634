"""The cost of `import llmcore` and of the vendor's client, above that of a bare interpreter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.harness import Row, Side, Workshop


@contextmanager
def prepare(shop: Workshop) -> Iterator[Row]:
    """Compare whole processes."""
    host, peer = shop.host(), shop.sdk("openai")
    yield Row(
        title="import",
        sides=[
            Side(name="python -c pass", environment=host, arguments=("-c", "pass")),
            Side(name="import llmcore", environment=host, arguments=("-c", "import llmcore"), at_most=1.15),
            Side(name="import openai", environment=peer, arguments=("-c", "import openai")),
        ],
        rounds=15,
    )
