"""`llmcore demo`: show the main features on one screen, without a key or a service."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

from llmcore.cli import demo_steps as steps
from llmcore.cli.show import Paint, format_cost, format_seconds, put, render_footer
from llmcore.cli.streams import get_stdout, give_stdout
from llmcore.missing_plugin import require_testing
from llmcore.plugins import Catalogue

if TYPE_CHECKING:
    from llmcore_testing.simulator import Simulator

__all__ = ["configure", "run"]

_INTRODUCTION = "llmcore demo: the real openai client over real HTTP, against a simulated server\non this machine. No key and no service; nothing leaves the machine."
_BYTES_PER_SECOND = 4000
"""The speed of the streamed answer in bytes per second. The speed is slow enough to watch."""
_REPEATS = 200
"""The number of cached calls whose median duration is shown."""
_PLAIN = Paint(on=False)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `demo`."""
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show every step with its code and its result."""
    require_testing("`llmcore demo`", "llmcore-openai-optimized", "llmcore-storage-fs")
    from llmcore_testing.simulator import Simulator

    catalogue = Catalogue()
    for kind, name in (("llm", "openai"), ("storage", "fs")):
        catalogue.load_provider(kind, name)  # raises an error if LLMCORE_PLUGINS excludes it
    with _isolate_environment() as folder, Simulator() as upstream:
        _Demo(folder, upstream, Paint.for_stream(get_stdout(), no_color=args.no_color)).run()
    return 0


@contextmanager
def _isolate_environment() -> Iterator[Path]:
    """Yield a new folder. Inside the block, the environment has none of the user's settings, keys and proxies."""
    with tempfile.TemporaryDirectory(prefix="llmcore-demo-", ignore_cleanup_errors=True) as folder:
        for name in list(os.environ):
            if name.startswith(
                ("LLMCORE__", "LLMCORE_CONFIG", "LLMCORE_PROFILE", "OPENAI_", "AZURE_OPENAI_")
            ):
                del os.environ[name]
        os.environ |= {"XDG_CONFIG_HOME": folder, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        yield Path(folder)


class _Demo:
    """One run of the demo."""

    def __init__(self, folder: Path, upstream: Simulator, paint: Paint) -> None:
        self._folder = folder
        self._upstream = upstream
        self._paint = paint
        self._number = 0

    def run(self) -> None:
        """Run every step."""
        import llmcore

        put(self._paint("dim", _INTRODUCTION))
        file = self._folder / "llmcore.toml"
        file.write_text(steps.render_configuration(self._folder, self._upstream.base_url), encoding="utf-8")
        with llmcore.load(file) as core:
            self._chat(core)
            self._ask_again(core)
            self._stream(core)
            self._retry(core)
            if "espeak" in Catalogue().list_names("voice"):
                self._speak(core)
            else:
                self._store(core)
        self._switch_backend(file)
        self._print_next()

    def _chat(self, core: Any) -> None:
        self._print_step(
            "Ask a language model", 'core = llmcore.load("llmcore.toml")', *steps.get_source(steps.ask)
        )
        reply, took_s = steps.measure(steps.ask, core)
        self._print_answer(reply.text)
        line = render_footer(
            provider="",  # the line must be short, and the code already names the provider
            model=reply.model,
            usage=reply.usage,
            cost=reply.cost,
            cached=reply.cached,
            took_s=took_s,
            paint=_PLAIN,
        )
        self._print_figures(f"{line}, import included")

    def _ask_again(self, core: Any) -> None:
        self._print_step("Ask again: the answer comes from the cache", "ask(core)")
        reply, took_s = steps.measure(steps.ask, core)
        times = sorted(steps.measure(steps.ask, core)[1] for _ in range(_REPEATS))
        what = "cached" if reply.cached else "not cached"
        first, median = format_seconds(took_s), format_seconds(times[_REPEATS // 2])
        times_text = f"in {first}, then {median} (median of {_REPEATS})"
        self._print_answer(
            f"{what}, {format_cost(reply.cost)}, {times_text}; requests sent: {self._count_requests()}"
        )

    def _stream(self, core: Any) -> None:
        from llmcore_testing.simulator import Fault

        self._print_step("Print an answer while it arrives", *_get_body(steps.tell))
        self._upstream.fail(Fault.slow(bytes_per_second=_BYTES_PER_SECOND))
        put(self._paint("cyan", "  > "), end="", flush=True)
        with give_stdout():
            _, took_s = steps.measure(steps.tell, core)
        put(self._paint("dim", f"   ({format_seconds(took_s)})"))

    def _retry(self, core: Any) -> None:
        from llmcore_testing.simulator import Fault

        self._print_step("Retry after a rate limit (429, Retry-After: 1)", *_get_body(steps.name))
        self._upstream.fail(Fault.status(429, retry_after=1))
        before = self._count_requests()
        reply, took_s = steps.measure(steps.name, core)
        self._print_answer(reply.text)
        self._print_figures(
            f"answered at attempt {self._count_requests() - before}, after {format_seconds(took_s)}"
        )

    def _store(self, core: Any) -> None:
        self._print_step("Store an answer as a file in the storage fs", *_get_body(steps.keep))
        loaded = steps.keep(core)
        path = self._folder / "data" / "answers" / "sky.txt"
        same = "the same" if path.read_bytes() == loaded else "not the same"
        self._print_answer(f"{len(loaded)} bytes read back, {same} as in the file data/answers/sky.txt")

    def _speak(self, core: Any) -> None:
        import wave

        self._print_step("Speak an answer, offline, and store it in the storage fs", *_get_body(steps.speak))
        steps.speak(core)
        loaded = core.storage.load("answers/sky.wav")
        path = self._folder / "data" / "answers" / "sky.wav"
        same = "the same" if path.read_bytes() == loaded else "not the same"
        with wave.open(str(path)) as file:
            length = file.getnframes() / file.getframerate()
        self._print_answer(f"{length:.1f} s of speech; {len(loaded)} bytes read back, {same} as in the file")

    def _switch_backend(self, file: Path) -> None:
        import llmcore

        old, new = 'provider = "openai"', 'provider = "echo"'
        file.write_text(file.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
        self._print_step("Change one word of llmcore.toml: the same application, another backend")
        put("    " + self._paint("red", f"- {old}") + "    " + self._paint("green", f"+ {new}"))
        put("    " + self._paint("green", "ask(core)"))
        with llmcore.load(file) as core:
            before = self._count_requests()
            reply = steps.ask(core)
        self._print_answer(reply.text)
        asked = self._count_requests() - before
        self._print_figures(
            f"answered by {reply.provider}, {format_cost(reply.cost)}, with {asked} requests to the server"
        )

    def _print_next(self) -> None:
        command = _find_command()
        bold = self._paint("bold", "Next, with a key or a server of your own (Ollama, vLLM, ...):")
        put(f"\n{bold}")
        for line in steps.NEXT.splitlines():
            put(f"  {line.replace('llmcore ', f'{command} ', 1)}")

    def _print_step(self, title: str, *code: str) -> None:
        """Print the title of a step and the code that it runs."""
        self._number += 1
        put(f"\n{self._paint('cyan', str(self._number))} {self._paint('bold', title)}")
        for line in code:
            put(f"    {self._paint('green', line)}")

    def _print_answer(self, text: str) -> None:
        put(self._paint("cyan", "  > ") + text)

    def _print_figures(self, text: str) -> None:
        put("    " + self._paint("dim", text))

    def _count_requests(self) -> int:
        return self._upstream.counts["requests"]


def _get_body(function: Callable[..., Any]) -> list[str]:
    return dedent("\n".join(steps.get_source(function)[1:])).replace("return ", "").splitlines()


def _find_command() -> str:
    """Return the command by which the user can start llmcore in this shell."""
    script, found = Path(sys.argv[0]), shutil.which("llmcore")
    if found and Path(found).resolve() == script.resolve():
        return "llmcore"
    if script.stem != "llmcore":
        return "python -m llmcore"
    try:
        return str(script.resolve().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(script)
