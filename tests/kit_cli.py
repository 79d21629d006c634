"""Runs the command line as a person does, in a process of its own; and installs plugins for it without pip."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["CommandLine"]

_SHELLS = ("NO_COLOR", "FORCE_COLOR", "TERM", "COLUMNS", "PYTHONPATH", "PYTHONIOENCODING", "PYTHONUTF8")


class CommandLine:
    """`python -m llmcore` in *folder*: `cli("ask", "Hi", stdin="...", NAME="value")`."""

    command = (sys.executable, "-m", "llmcore")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.site = folder / "site"
        """Where `install` puts distributions; on PYTHONPATH."""

    @property
    def env(self) -> dict[str, str]:
        """The environment of the test, which knows an empty home, and nothing of the terminal it runs in."""
        kept = {name: value for name, value in os.environ.items() if name not in _SHELLS}
        return kept | {"PYTHONPATH": str(self.site)}

    def __call__(self, *arguments: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        """Run to the end, and return exit code and output."""
        return subprocess.run(
            [*self.command, *arguments],
            cwd=self.folder,
            env=self.env | env,
            input=stdin,
            capture_output=True,
            encoding="utf-8",
            timeout=100,
            check=False,
        )

    def install(
        self, name: str, entries: dict[str, str], modules: dict[str, str], version: str = "1.0"
    ) -> None:
        """Install a distribution by hand: *entries* are group -> lines, *modules* name -> text."""
        metadata = self.site / f"{name.replace('-', '_')}-{version}.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = [f"[{group}]\n{entry}\n" for group, entry in entries.items()]
        (metadata / "entry_points.txt").write_text("\n".join(lines))
        for module, text in modules.items():
            (self.site / f"{module}.py").write_text(text)
