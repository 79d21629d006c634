"""Write the pages of the documentation site to a folder: docs/, the pages of the plugins, and the API reference.

The pages in the repository are written for GitHub, and for tests/docs/test_docs.py, which executes them. The generator wants other
names for some, links that stay inside of the site, and titles in place of file names after a fence.
"""

from __future__ import annotations

import inspect
import os
import re
import shutil
import sys
from collections.abc import Iterable
from functools import partial
from importlib import import_module
from pathlib import Path

from llmcore import types
from scripts.docstring_faults import find_docstring_faults

ROOT = Path(__file__).parents[1]
TOP = ("CHANGELOG.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "SECURITY.md")
LINK = re.compile(r"(?<!\!)\[([^\]]+)\]\(([^)#\s]*)(#[^)\s]*)?\)")
PICTURE = re.compile(r"""(!\[[^\]]*\]\(|<(?:img|source)\b[^>`]*?\bsrc(?:set)?=")([^)"\s]+)""")
ATTRIBUTE = re.compile(r"^ {8}self\.([a-z]\w*)(?:: [^=\n]+)? = ", re.MULTILINE)
FENCE = re.compile(r"^( *(?:```|~~~)\w+) (.+)$")

FIRST = {
    "llmcore.types": ("Message", "Reply", "Choice", "Delta", "ToolCall", "Usage", "Embeddings", "Speech"),
    "llmcore.Core": ("llm", "cache", "storage", "voice", "usage", "keys"),
}
"""The members with which a page begins, because most applications use them."""


def sort_members(owner: str, names: Iterable[str]) -> list[str]:
    """Return *names*, those in `FIRST` before the others."""
    first = FIRST.get(owner, ())
    return sorted(names, key=lambda name: first.index(name) if name in first else len(first))


REFERENCE = {
    "core": ("The Core", ["llmcore.load", "llmcore.Core", "llmcore.calls.backend.Backend"]),
    "llm": (
        "Language models",
        [
            *(
                f"llmcore.{name}"
                for name in ("LLMClient", "ChatOptions", "SendOptions", "image", "audio", "file")
            ),
            *(
                f"llmcore.llm.options.{name}"
                for name in ("EmbedOptions", "Prompt", "ResponseFormat", "Texts", "Api")
            ),
        ],
    ),
    "batches": (
        "Batches",
        [
            "llmcore.llm.batch.run.BatchRun",
            "llmcore.llm.batch.run.Summary",
            "llmcore.llm.batch.items.BatchItem",
            "llmcore.llm.batch.estimate.Estimate",
        ],
    ),
    "cache": ("Caches", ["llmcore.CacheManager", "llmcore.get_cache"]),
    "storage": ("Storages", ["llmcore.StorageClient"]),
    "voice": ("Voices", ["llmcore.VoiceClient", "llmcore.SpeechOptions"]),
    "usage": (
        "Usage",
        [
            "llmcore.UsageBook",
            "llmcore.ledger.meter.Totals",
            "llmcore.ledger.report.UsageRow",
            "llmcore.ledger.report.BudgetState",
            "llmcore.ledger.alerts.ConfiguredAlert",
            "llmcore.ledger.alert_delivery.Delivery",
            "llmcore.ledger.reconciliation.reconcile.Reconciliation",
            "llmcore.ledger.migration.Migrated",
            "llmcore.ledger.zones.ReportZone",
            "llmcore.ledger.api_keys.ApiKeys",
            "llmcore.ApiKey",
        ],
    ),
    "types": ("Types", [f"llmcore.types.{name}" for name in sort_members("llmcore.types", types.__all__)]),
    "units": ("Units", ["llmcore.units"]),
    "errors": ("Exceptions", ["llmcore.errors"]),
    "hookspecs": ("Hooks", ["llmcore.hookspecs"]),
    "contracts": ("Contracts", ["llmcore.contracts.*", "llmcore.contracts.is_interrupt"]),
    "support": ("Toolkit for plugins", ["llmcore.support.*"]),
    "http": ("Toolkit for HTTP", ["llmcore.support.http", "llmcore.support.http.*"]),
    "translation": (
        "Translation between APIs",
        ["llmcore.support.translation", "llmcore.support.translation.*"],
    ),
    "testing": (
        "Testing",
        [
            *(f"llmcore_testing.{name}" for name in ("simulator", "conformance", "tcp_proxy")),
            "llmcore_testing.cassette",
            "llmcore_testing.cassette.plugin.CassetteOptions",
        ],
    ),
    "compat": ("Names of older code", ["llmcore.compat"]),
}
"""Pages of the API reference: the title, and the objects whose docstrings make the page; `.*` means each module of a package."""

COMPLETE = {
    f"llmcore.{name}"
    for name in (
        "ChatOptions",
        "Core",
        "LLMClient",
        "SpeechOptions",
        "StorageClient",
        "UsageBook",
        "VoiceClient",
    )
}
"""Classes that are shown with their inherited members and without a constructor: clients, and the options of calls."""
INTERNAL = {"make_sender", "measure", "meter", "open_run", "set_engines", "set_run_budget"}
"""Methods of clients that only llmcore itself calls."""
OPTIONS = """
    options:
      inherited_members: true
      merge_init_into_class: false
      members: [{members}]"""


def list_sources() -> dict[Path, str]:
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
        ValueError: A link leads to a file that does not exist, or a picture is not a file in docs/.
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
            lines.append(FENCE.sub(add_title, line))
        elif fence:
            fence = "" if line.strip() == fence else fence
            lines.append(line)
        else:
            lines.append(PICTURE.sub(partial(move_picture, path, name), LINK.sub(link, line)))
    return "\n".join(lines) + "\n"


def move_picture(path: Path, name: str, found: re.Match[str]) -> str:
    """Return the mention of a picture on the page *path*, with the picture's address for the site's page *name*."""
    opening, address = found[1], found[2]
    target = (path.parent / address).resolve()
    if not target.is_file() or not target.is_relative_to(ROOT / "docs"):
        raise ValueError(f"{path.relative_to(ROOT)}: the picture {address} is not a file in docs/")
    return opening + os.path.relpath(target.relative_to(ROOT / "docs"), Path(name).parent)


def add_title(found: re.Match[str]) -> str:
    """Return the fence with its file's name as a title; other marks are for tests/docs/test_docs.py only."""
    file = next((word for word in found[2].split() if "." in word), None)
    return f'{found[1]} title="{file}"' if file else found[1]


def list_members(name: str) -> list[str]:
    """Return the public members of the class *name*: those of the class itself before the inherited ones."""
    module, _, attribute = name.rpartition(".")
    found: dict[str, None] = {}
    for base in getattr(import_module(module), attribute).__mro__:
        if base.__module__.startswith("llmcore"):
            names = [*vars(base), *getattr(base, "__annotations__", ())]
            names += ATTRIBUTE.findall(inspect.getsource(base)) if "__init__" in vars(base) else []
            found |= dict.fromkeys(names)
    public = [member for member in found if not member.startswith("_") and member not in INTERNAL]
    return sort_members(name, public)


def list_objects(names: list[str]) -> list[str]:
    """Return *names*, with the modules of a package in place of a name that ends with `.*`."""
    found: list[str] = []
    for name in names:
        package, star, _ = name.partition(".*")
        folder = ROOT / package.replace(".", "/")
        modules = sorted(path.stem for path in folder.glob("[a-z]*.py")) if star else []
        found += [f"{package}.{module}" for module in modules] or [name]
    return found


def render_reference(heading: str, objects: list[str]) -> str:
    """Return a page whose content the generator takes from docstrings."""
    blocks = []
    for name in list_objects(objects):
        options = OPTIONS.format(members=", ".join(list_members(name))) if name in COMPLETE else ""
        blocks.append(f"::: {name}{options}")
    return f"# {heading}\n\n" + "\n\n".join(blocks) + "\n"


def _list_sources(folder: Path, names: list[str]) -> list[str]:
    """Return those of *names* that are files that the site does not contain unchanged."""
    return [
        name for name in names if (folder / name).is_file() and not name.endswith((".css", ".png", ".svg"))
    ]


def main(folder: Path) -> None:
    """Replace *folder* by the configuration and the pages of the site."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    configuration = (ROOT / "docs/zensical.toml").read_text()
    (folder / "zensical.toml").write_text(configuration.replace('"ROOT', f'"{ROOT}'))
    pages = list_sources()
    texts = {name: stage(path, name, pages) for path, name in pages.items()}
    for name, (heading, objects) in REFERENCE.items():
        texts[f"reference/{name}.md"] = render_reference(heading, objects)
    shutil.copytree(
        ROOT / "docs", folder / "pages", ignore=lambda path, names: _list_sources(Path(path), names)
    )
    for name, text in texts.items():
        page = folder / "pages" / name
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text)


def check_docstrings() -> None:
    """Exit with the faults in the docstrings of the host and the plugins, if there are any."""
    folders = [ROOT / "llmcore", *sorted(ROOT.glob("plugins/*/llmcore_*"))]
    faults = [fault for folder in folders for fault in find_docstring_faults(folder.parent, folder.name)]
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    check_docstrings()
    main(Path(sys.argv[1]))
