"""The modules of a package import each other in one direction, imports inside functions included."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOST = ROOT / "llmcore"
PLUGINS = [
    path.parent
    for path in sorted([*HOST.rglob("plugin.py"), *ROOT.glob("plugins/*/llmcore_*/**/plugin.py")])
    if path.parent != HOST
]
TESTING = ROOT / "plugins/testing/llmcore_testing"
KNOWN_CYCLES = {("llmcore.core", "llmcore.batch_worker")}
"""A worker process imports `batch_worker`, which creates a Core; a Core passes a function of `batch_worker` to the engine."""


@pytest.mark.parametrize("package", PLUGINS, ids=lambda package: package.name)
def test_the_modules_of_a_plugin_import_each_other_in_one_direction(package: Path) -> None:
    assert _find_cycle(_read_graph(package)) == []
    assert (package / "options.py").is_file(), "the options are in options.py, which every module may import"


@pytest.mark.slow
@pytest.mark.parametrize("package", [HOST, TESTING], ids=lambda package: package.name)
def test_the_modules_of_a_package_import_each_other_in_one_direction(package: Path) -> None:
    graph = _read_graph(package, only_at_run_time=True)
    imports = {(module, target) for module in graph for target in graph[module]}
    if package == HOST:
        assert imports >= KNOWN_CYCLES, "remove the entry"
    for module, target in imports & KNOWN_CYCLES:
        graph[module].remove(target)
    assert _find_cycle(graph) == []


def _read_graph(package: Path, *, only_at_run_time: bool = False) -> dict[str, set[str]]:
    """Return the modules of *package* that each of its modules imports. *only_at_run_time* leaves out those for types."""
    top = package
    while (top.parent / "__init__.py").is_file():
        top = top.parent
    files = {_name_module(path, top): path for path in package.rglob("*.py")}
    return {
        module: {
            target
            for name in _list_imports(ast.parse(path.read_text()), only_at_run_time=only_at_run_time)
            if (target := name if name in files else name.rpartition(".")[0]) in files and target != module
        }
        for module, path in files.items()
    }


def _name_module(path: Path, top: Path) -> str:
    return ".".join(path.relative_to(top.parent).with_suffix("").parts).removesuffix(".__init__")


def _list_imports(tree: ast.AST, *, only_at_run_time: bool) -> Iterator[str]:
    """Yield each imported module, or module and name, such as `llmcore.types.Reply`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif not (
            only_at_run_time and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        ):
            yield from _list_imports(node, only_at_run_time=only_at_run_time)


def _find_cycle(graph: dict[str, set[str]]) -> list[str]:
    """Return the modules of a cycle; empty if there is none."""
    finished: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in finished:
            return []
        for target in sorted(graph.get(module, ())):
            if cycle := visit(target, [*path, module]):
                return cycle
        finished.add(module)
        return []

    return next((cycle for module in sorted(graph) if (cycle := visit(module, []))), [])


def test_a_cycle_is_found() -> None:
    graph = {"plugin": {"options", "provider"}, "provider": {"wire"}, "wire": {"plugin"}, "options": set()}
    assert _find_cycle(graph) == ["plugin", "provider", "wire", "plugin"]
