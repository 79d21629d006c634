"""docs/guides/migration.md: every call of its tables runs, with the result that the page gives."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import llmcore
from llmcore import compat, contracts, errors
from llmcore.cache import CacheManager, get_cache
from llmcore_openai_optimized import OptimizedOpenAIProvider
from llmcore_testing.simulator import Simulator

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "migration.md"
CALL = re.compile(r"`(?P<code>[^`]+)`(?: raises `(?P<error>\w+)`)?")
SAME = "the same"


class Row(NamedTuple):
    section: str
    name: str
    there: str
    here: str
    why: str


def list_rows() -> list[Row]:
    """Return the rows of the tables that have the four columns."""
    found, section = [], ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            section = line[3:]
        cells = [cell.strip() for cell in line.strip("|").split(" | ")] if line.startswith("| ") else []
        if len(cells) == 3:  # the last cell is empty
            cells.append("")
        if len(cells) == len(Row._fields) - 1 and cells[0] != "name":
            found.append(Row(section, *cells))
    return found


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Return the names that the calls of the page use, with servers of the tests."""
    Path("ann.mp3").write_bytes(b"ID3" + bytes(100))
    with Simulator() as upstream:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.setenv("OPENAI_BASE_URL", upstream.base_url)
        monkeypatch.setenv("ELEVENLABS_API_KEY", "sk_test")
        core = llmcore.load(
            {
                "cache": {"provider": "memory"},
                "storage": {"provider": "fs", "fs": {"root": "./data"}},
                "voice": {"provider": "elevenlabs", "elevenlabs": {"base_url": upstream.url}},
            }
        )
        with core, CacheManager("memory") as cache, OptimizedOpenAIProvider(model="gpt-4o-mini") as provider:
            yield {
                **{name: getattr(errors, name) for name in errors.__all__},
                "CacheManager": CacheManager,
                "get_cache": get_cache,
                "OptimizedOpenAIProvider": OptimizedOpenAIProvider,
                "cache": cache,
                "provider": provider,
                "messages": [{"role": "user", "content": "Hello"}],
                "core": core,
                "storage": core.storage,
                "voice": core.voice,
                "voice_id": core.voice.list_voices()[0].voice_id,
            }


def run(cell: str, names: dict[str, Any]) -> None:
    """Run the calls of *cell*: a comparison must be true, and a call that is said to raise must raise."""
    calls = list(CALL.finditer(cell))
    assert calls, f"no call in {cell!r}"
    for call in calls:
        tree = ast.parse(call["code"], mode="eval")
        code = compile(tree, "migration.md", "eval")
        if call["error"]:
            kind = names.get(call["error"]) or getattr(builtins, call["error"])
            with pytest.raises(kind):
                eval(code, names)  # noqa: S307 - our own page
            continue
        result = eval(code, names)  # noqa: S307 - as above
        if isinstance(tree.body, ast.Compare | ast.BoolOp):
            assert result is True, f"{call['code']} is {result!r}"


@pytest.mark.slow
@pytest.mark.parametrize("section", ["The cache", "The OpenAI provider", "Storages", "Voices"])
def test_every_call_of_the_page_runs(
    section: str, names: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    of_section = [row for row in list_rows() if row.section == section]
    assert len(of_section) > 8
    for row in of_section:
        with monkeypatch.context() as inner:
            if row.name == "a missing key":
                inner.delenv("OPENAI_API_KEY")
            try:
                run(row.there if row.here == SAME else row.here, names)
            except Exception as error:
                error.add_note(f"in the row {row.name!r} of {section!r}")
                raise


def test_every_name_that_code_of_this_family_calls_is_in_the_tables() -> None:
    listed = " ".join(row.name for row in list_rows())
    methods = [
        *("cached", "get", "set", "invalidate", "get_stats", "clear_stats", "get_cache", "cache_dir"),
        *(
            "count_tokens",
            "count_messages_tokens",
            "estimate_cost",
            "compare_pricing_tiers",
            "generate_completion",
        ),
        *(
            "generate_chat",
            "get_usage_stats",
            "reset_stats",
            "model_name",
            "estimate_video_cost",
            "enable_cache",
        ),
        *(
            "save",
            "load",
            "exists",
            "delete",
            "list_files",
            "create_directory",
            "get_file_size",
            "get_modified_time",
        ),
        *("synthesize", "list_voices", "get_voice_info", "clone_voice", "delete_voice", "provider_name"),
    ]
    assert [name for name in methods if f"`{name}`" not in listed] == []


def test_the_interfaces_are_the_protocols() -> None:
    assert compat.ILLMProvider is contracts.LLMProvider
    assert compat.IAsyncLLMProvider is contracts.AsyncLLMProvider
    assert compat.IStorageProvider is contracts.StorageProvider
    assert compat.IFileSystemProvider is contracts.FileSystemProvider
    assert compat.IVoiceProvider is contracts.VoiceProvider
    assert compat.IVoiceCloningProvider is contracts.VoiceCloningProvider
    page = PAGE.read_text()
    assert [name for name in compat.__all__ if f"`{name}`" not in page] == []


def test_a_class_of_existing_code_inherits_from_them() -> None:
    class Mine(compat.ILLMProvider, compat.IFileSystemProvider):
        def generate_completion(self, prompt: str) -> str:
            return prompt

    kind: Any = Mine  # which defines less than the Protocols, as existing code does
    mine = kind()
    assert mine.generate_completion("Hello") == "Hello"
    assert isinstance(mine, compat.ILLMProvider)
