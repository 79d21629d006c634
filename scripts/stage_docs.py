"""Write the pages of the documentation site to a folder: docs/, the pages of the plugins, and the API reference.

The pages in the repository are written for GitHub, and for tests/docs/test_docs.py, which executes them. The generator wants other
names for some, links that stay inside of the site, and titles in place of file names after a fence.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOP = ("CHANGELOG.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "SECURITY.md")
LINK = re.compile(r"(?<!\!)\[([^\]]+)\]\(([^)#\s]*)(#[^)\s]*)?\)")
FENCE = re.compile(r"^( *(?:```|~~~)\w+) (.+)$")

REFERENCE = {
    "core": ("The Core", ["llmcore.load", "llmcore.Core"]),
    "llm": (
        "Language models",
        [f"llmcore.{name}" for name in ("LLMClient", "ChatOptions", "SendOptions", "image", "audio", "file")],
    ),
    "cache": ("Caches", ["llmcore.CacheManager", "llmcore.get_cache"]),
    "storage": ("Storages", ["llmcore.StorageClient"]),
    "voice": ("Voices", ["llmcore.VoiceClient", "llmcore.SpeechOptions"]),
    "usage": ("Usage", ["llmcore.UsageBook", "llmcore.ApiKey"]),
    "types": ("Types", ["llmcore.types"]),
    "errors": ("Exceptions", ["llmcore.errors"]),
    "hookspecs": ("Hooks", ["llmcore.hookspecs"]),
    "contracts": (
        "Contracts",
        [f"llmcore.contracts.{kind}" for kind in ("llm", "cache", "storage", "storage_abilities", "voice")],
    ),
    "support": ("Toolkit for plugins", []),
    "testing": ("Testing", ["llmcore_testing.simulator", "llmcore_testing.conformance"]),
}
"""Pages of the API reference: the title, and the objects whose docstrings make the page."""

CLIENTS = {f"llmcore.{name}" for name in ("Core", "LLMClient", "StorageClient", "UsageBook", "VoiceClient")}
"""Classes that applications get from `load()`, and never construct."""
INTERNAL_INIT = """
    options:
      inherited_members: true
      merge_init_into_class: false"""


def sources() -> dict[Path, str]:
    """Return each page of the repository, with its name in the site."""
    pages = {path: str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    pages |= {ROOT / name: name.lower() for name in TOP}
    pages |= {path: f"plugins/{path.parent.name}.md" for path in ROOT.glob("plugins/*/README.md")}
    pages |= {
        path: f"plugins/{path.parent.name}-changelog.md" for path in ROOT.glob("plugins/*/CHANGELOG.md")
    }
    pages[ROOT / "benchmarks/README.md"] = "benchmarks.md"
    pages[ROOT / "benchmarks/results.md"] = "benchmark-results.md"
    return {path: name.replace("README.md", "index.md") for path, name in pages.items()}


def stage(path: Path, name: str, pages: dict[Path, str]) -> str:
    """Return the text of *path* as the site's page *name*.

    Raises:
        ValueError: A link leads to a file that does not exist.
    """

    def link(found: re.Match[str]) -> str:
        text, address, anchor = found[1], found[2], found[3] or ""
        if not address or ":" in address:
            return found[0]
        target = (path.parent / address).resolve()
        if not target.exists():
            raise ValueError(f"{path.relative_to(ROOT)}: the link to {address} leads to no file")
        if target == ROOT / "README.md":
            target = ROOT / "docs/index.md"
        page = pages.get(target) or pages.get(target / "README.md")
        if page is None:  # a file of the repository that is not a page
            return text if text.startswith("`") else f"{text} (`{target.relative_to(ROOT)}`)"
        return f"[{text}]({os.path.relpath(page, Path(name).parent)}{anchor})"

    lines, fence = [], ""
    for line in path.read_text().splitlines():
        opened = re.match(r" *(```+|~~~+)", line)
        if opened and not fence:
            fence = opened[1]
            lines.append(FENCE.sub(title, line))
        elif fence:
            fence = "" if line.strip() == fence else fence
            lines.append(line)
        else:
            lines.append(LINK.sub(link, line))
    return "\n".join(lines) + "\n"


def title(found: re.Match[str]) -> str:
    """Return the fence with its file's name as a title; other marks are for tests/docs/test_docs.py only."""
    file = next((word for word in found[2].split() if "." in word), None)
    return f'{found[1]} title="{file}"' if file else found[1]


def reference(heading: str, objects: list[str]) -> str:
    """Return a page whose content the generator takes from docstrings."""
    blocks = [f"::: {name}{INTERNAL_INIT if name in CLIENTS else ''}" for name in objects]
    return f"# {heading}\n\n" + "\n\n".join(blocks) + "\n"


def _not_pictures(folder: Path, names: list[str]) -> list[str]:
    """Return those of *names* that are files and not pictures."""
    return [name for name in names if (folder / name).is_file() and not name.endswith((".svg", ".png"))]


def main(folder: Path) -> None:
    """Replace *folder* by the configuration and the pages of the site."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "docs/zensical.toml", folder)
    pages = sources()
    texts = {name: stage(path, name, pages) for path, name in pages.items()}
    modules = sorted(path.stem for path in (ROOT / "llmcore/support").glob("[a-z]*.py"))
    for name, (heading, objects) in REFERENCE.items():
        listed = objects or [f"llmcore.support.{module}" for module in modules]
        texts[f"reference/{name}.md"] = reference(heading, listed)
    shutil.copytree(
        ROOT / "docs", folder / "pages", ignore=lambda path, names: _not_pictures(Path(path), names)
    )
    for name, text in texts.items():
        page = folder / "pages" / name
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
