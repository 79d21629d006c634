"""The options of the provider `cassette`."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from llmcore.hookspecs import Options

__all__ = ["CassetteOptions"]


class CassetteOptions(Options):
    """The tables `[llm.cassette]` and `[voice.cassette]`."""

    provider: str = "echo"
    """The provider whose calls are recorded."""
    path: str = "./cassette.json"
    """The file of the recorded calls. Commit it with the tests."""
    mode: Literal["replay", "record", "auto"] = "replay"
    """replay: answer only from the file. record: call the provider and record every call. The first cassette
    of the process with this path begins a new file, and the others add to it. auto: call the provider only for
    requests that the file lacks, and add these calls to the file."""
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    """The options of the recorded provider. If empty, they are read from the provider's table in
    `llmcore.toml`."""
