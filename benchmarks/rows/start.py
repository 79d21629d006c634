"""The cost of a whole process of the command line: the version, the help, and an answer from the file cache."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.environments import Environment
from benchmarks.harness import Row, Side, Workshop
from benchmarks.upstream import serve

ASK = ("ask", "Write a haiku about rain")

CONFIG = """
[llm]
provider = "openai"
model = "gpt-4o-mini"

[llm.openai]
api_key = "env:OPENAI_API_KEY"
base_url = "{address}"
"""


@contextmanager
def prepare(shop: Workshop) -> Iterator[Row]:
    """Compare the installed command with a bare interpreter."""
    host = shop.host()
    command = str(host.bin / "llmcore")
    with TemporaryDirectory(prefix="llmcore-bench-") as folder:
        env = _ask_once(host, command, Path(folder))
        yield Row(
            title="start",
            sides=[
                Side(name="python -c pass", environment=host, arguments=("-c", "pass")),
                Side(
                    name="llmcore --version",
                    environment=host,
                    arguments=(command, "--version"),
                    at_most=1.9,
                ),
                Side(name="llmcore --help", environment=host, arguments=(command, "--help")),
                Side(
                    name="a cached answer",
                    environment=host,
                    arguments=(command, *ASK),
                    env=env,
                    at_most=5.5,
                ),
            ],
            rounds=15,
        )


def _ask_once(host: Environment, command: str, folder: Path) -> dict[str, str]:
    """Ask openai once; return the environment with its cached answer. The server is stopped, so only the cache can answer."""
    config = folder / "llmcore.toml"
    env = {
        "LLMCORE_CONFIG": str(config),
        "OPENAI_API_KEY": "sk-test",
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    with serve() as address:
        config.write_text(CONFIG.format(address=address))
        done = host.run(command, *ASK, cwd=folder, env=env)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return env
