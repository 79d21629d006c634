"""Runs the command line in a separate process, and installs plugins for it without pip."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from tests.kits.command_server import can_fork, run_in_fork

__all__ = ["ONE_OF_EACH", "CommandLine", "press_ctrl_c", "restore_ctrl_c"]

_SHELLS = ("NO_COLOR", "FORCE_COLOR", "TERM", "COLUMNS", "PYTHONPATH", "PYTHONIOENCODING", "PYTHONUTF8")
ONE_OF_EACH = "anthropic,any_llm,openai,ollama,memcached,redis,fs,s3,elevenlabs,espeak,serve"
"""LLMCORE_PLUGINS for `doctor`, which starts a process for each name: one name of each distribution."""
_AT_REST = 20
"""Number of consecutive checks that must find a process asleep."""


class CommandLine:
    """`python -m llmcore` in *folder*: `cli("ask", "Hi", stdin="...", NAME="value")`."""

    command: tuple[str, ...] = (sys.executable, "-m", "llmcore")
    fork = True
    """Whether a fork of a process that has imported llmcore may take the place of a new Python."""

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
        if self.fork and self.command is CommandLine.command and can_fork(self.site, env):
            done = run_in_fork(
                arguments=arguments,
                folder=self.folder,
                site=self.site,
                env=self.env | env,
                stdin=stdin.encode(),
                timeout_s=100,
            )
            # Line ends as text streams read them.
            out, err = (
                io.TextIOWrapper(io.BytesIO(each), "utf-8").read() for each in (done.stdout, done.stderr)
            )
            return subprocess.CompletedProcess(done.args, done.returncode, out, err)
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


def restore_ctrl_c() -> None:
    """Restore the handling of Ctrl-C, which a process that the shell started in the background ignores.

    To be called in a child before it is one: `preexec_fn=`.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def press_ctrl_c(process: subprocess.Popen[bytes]) -> None:
    """Interrupt *process* when it waits for something.

    Python looks for Ctrl-C before it waits, and misses one that comes in between; a person presses again.
    """
    state, idle = Path(f"/proc/{process.pid}/task/{process.pid}/stat"), 0
    while idle < _AT_REST and process.poll() is None and state.exists():
        idle = idle + 1 if state.read_text().rpartition(")")[2].split()[0] == "S" else 0
        threading.Event().wait(0.001)
    process.send_signal(signal.SIGINT)
