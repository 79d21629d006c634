"""The guide to backends of each kind has the signatures of all methods in the contracts."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = {
    "Language models": ("llm", "embeddings", "batches"),
    "Caches": ("cache", "rate_limits"),
    "Storages": ("storage", "storage_abilities"),
    "Voices": ("voice",),
}


def read_contract(module: str) -> list[str]:
    """Return the signatures of the sync methods of a contract, without `self`."""
    found: list[str] = []
    for node in ast.parse((ROOT / "llmcore" / "contracts" / f"{module}.py").read_text()).body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("Async"):
            for method in node.body:
                if isinstance(method, ast.FunctionDef):
                    arguments = re.sub(r"^self(, )?", "", ast.unparse(method.args))
                    assert method.returns is not None
                    found.append(f"{method.name}({arguments}) -> {ast.unparse(method.returns)}")
    return [line.replace("'", '"') for line in found]


def read_guide(kind: str) -> list[str]:
    text = (ROOT / "docs" / "guides" / "backends.md").read_text()
    block = text.partition(f"**{kind}**\n\n```text\n")[2].partition("```")[0]
    return block.splitlines()


@pytest.mark.parametrize("kind", MODULES)
def test_the_guide_has_the_signatures_of_the_contracts(kind: str) -> None:
    assert read_guide(kind) == [line for module in MODULES[kind] for line in read_contract(module)]
