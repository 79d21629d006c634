"""A printed install line names only our distributions, and installs them from the origin of the host."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from benchmarks.environments import Environment
from llmcore.install_lines import FOLDERS, make_install_line, make_reinstall_line
from llmcore.missing_plugin import KNOWN
from tests.kits.cli import CommandLine

ROOT = Path(__file__).parents[2]
NAMES = {
    tomllib.loads(path.read_text(encoding="utf-8"))["project"]["name"]: path.parent
    for path in (ROOT / "pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml"))
}


def test_the_table_names_every_distribution_of_the_project() -> None:
    assert {name: ROOT / folder for name, folder in FOLDERS.items()} == NAMES


def test_every_printed_name_is_ours() -> None:
    line = re.compile(r"pip install[^\n`]*?(?<![\w/.-])(llmcore-[a-z0-9-]+)")
    texts = [
        path
        for pattern in (
            "README.md",
            "docs/**/*.md",
            "plugins/*/README.md",
            "llmcore/**/*.py",
            "llmcore/**/*.txt",
        )
        for path in ROOT.glob(pattern)
    ]
    written = {name for path in texts for name in line.findall(path.read_text(encoding="utf-8"))}
    written -= {"llmcore-acme", "llmcore-shout", "llmcore-disk"}  # folders that the reader has just made
    assert written | set(KNOWN.values()) <= set(NAMES)


def test_a_clone_installs_its_own_plugin() -> None:
    assert make_install_line("llmcore-cache-redis") == f"pip install {ROOT / 'plugins/cache_redis'}"


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (None, "pip install --upgrade acme-sdk"),
        ({"url": "file:///a%20b/acme", "dir_info": {}}, "pip install --upgrade '/a b/acme'"),
        ({"url": "file:///acme", "dir_info": {"editable": True}}, "pip install --upgrade -e /acme"),
        ({"url": "https://h/acme.whl", "archive_info": {}}, "pip install --upgrade https://h/acme.whl"),
        (
            {"url": "https://h/acme", "vcs_info": {"vcs": "git", "commit_id": "1"}, "subdirectory": "p"},
            "pip install --upgrade 'git+https://h/acme#subdirectory=p'",
        ),
        ("not JSON", "pip install --upgrade acme-sdk"),
    ],
)
def test_a_distribution_is_reinstalled_from_its_origin(source: object, line: str, tmp_path: Path) -> None:
    if source is not None:
        (tmp_path / "direct_url.json").write_text(source if isinstance(source, str) else json.dumps(source))
    assert make_reinstall_line("acme-sdk", str(tmp_path), "--upgrade") == line


def make_foreign_wheel(folder: Path) -> Path:
    """Make a wheel of another project that is called llmcore, as a package index has one."""
    wheel = folder / "llmcore-0.0.6-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("llmcore/__init__.py", "from .core import LLM\n")
        archive.writestr("llmcore/core.py", "class LLM: pass\n")
        archive.writestr("llmcore/errors.py", "class LLMError(Exception): pass\n")
        archive.writestr(
            "llmcore-0.0.6.dist-info/METADATA", "Metadata-Version: 2.1\nName: llmcore\nVersion: 0.0.6\n"
        )
        archive.writestr(
            "llmcore-0.0.6.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("llmcore-0.0.6.dist-info/RECORD", "")
    return wheel


def test_wheels_name_their_neighbours_and_a_foreign_llmcore(wheels: list[Path], tmp_path: Path) -> None:
    environment = Environment.make(tmp_path / "environment")
    host = next(wheel for wheel in wheels if wheel.name.startswith("llmcore_host"))
    environment.install(host)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(environment.bin / "llmcore"), *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    said = run("ask", "-m", "openai:gpt-4o", "Hello").stderr
    plugin = next(wheel for wheel in wheels if wheel.name.startswith("llmcore_openai_optimized"))
    assert f"fix: pip install {plugin}\n" in said
    environment.install(make_foreign_wheel(tmp_path))
    done = run("--version")
    assert done.returncode == 6
    assert "llmcore 0.0.6 is another project" in done.stderr
    assert f"fix: pip uninstall -y llmcore && pip install --force-reinstall --no-deps {host}\n" in done.stderr
    environment.install("pip")
    shell = {**os.environ, "PATH": f"{environment.bin}{os.pathsep}{os.environ['PATH']}"}
    fix = done.stderr.rpartition("fix: ")[2]
    subprocess.run(fix, shell=True, env=shell, check=True, capture_output=True)  # noqa: S602 - a line to paste
    assert run("--version").returncode == 0


def test_a_host_that_came_from_an_index_installs_the_others_by_their_names(
    wheels: list[Path], tmp_path: Path
) -> None:
    environment = Environment.make(tmp_path / "environment")
    environment.install(next(wheel for wheel in wheels if wheel.name.startswith("llmcore_host")))
    (record,) = environment.folder.rglob("llmcore_host-*.dist-info/direct_url.json")
    metadata = record.with_name("METADATA")

    def run(*arguments: str) -> str:
        command = [str(environment.bin / "llmcore"), *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stderr

    record.write_text(json.dumps({"url": (tmp_path / "llmcore_host.whl").as_uri(), "archive_info": {}}))
    said = run("demo")
    assert "not on a package index" in said
    assert "fix:" not in said, "anybody could register the name while the wheels are not published"
    text = metadata.read_text()
    metadata.write_text(text.replace("Classifier: Private :: Do Not Upload\n", ""))
    assert "fix: pip install llmcore-testing\n" in run("plugins", "check", "memory")
    metadata.write_text(text)
    record.unlink()  # an installer writes this file only for a distribution that is not from an index
    assert "fix: pip install llmcore-testing\n" in run("plugins", "check", "memory")
    said = run("demo")
    assert "fix: pip install llmcore-testing llmcore-openai-optimized llmcore-storage-fs\n" in said
    assert "on the package index, like llmcore-host" in said


def test_doctor_finds_a_foreign_llmcore(tmp_path: Path) -> None:
    cli = CommandLine(tmp_path)
    cli.install("llmcore", {}, {}, version="0.0.6")
    done = cli("doctor", LLMCORE_PLUGINS="none")
    assert done.returncode == 6
    assert "the distribution llmcore 0.0.6 is another project" in done.stdout
    assert "fix: pip uninstall -y llmcore && pip install --force-reinstall --no-deps " in done.stdout


def test_the_command_explains_a_broken_import_of_ours_only(tmp_path: Path) -> None:
    (tmp_path / "llmcore").mkdir()
    (tmp_path / "llmcore" / "__init__.py").write_text("raise ImportError('broken')\n")
    command = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); sys.path.append({str(ROOT)!r})\nimport llmcore_command\nllmcore_command.main()"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=False)
    assert "ImportError: broken" in done.stderr
    assert "another project" not in done.stderr
