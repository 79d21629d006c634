"""`llmcore demo`: the main job on one screen, without a key and without a service."""

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
from llmcore.cli.show import Paint, dollars, footer, seconds
from llmcore.plugins import Catalogue

if TYPE_CHECKING:
    from llmcore.testing.simulator import Simulator

__all__ = ["configure", "run"]

_BEGIN = "llmcore demo: the real openai client over real HTTP, asking a simulated upstream\non this machine. No key, no service, and nothing leaves the machine."
_SPEED = 4000
"""Bytes a second of the streamed answer, so that one can watch it."""
_AGAIN = 200
_PLAIN = Paint(on=False)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what `demo` takes."""
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show every step, each with the lines of an application that do it."""
    from llmcore.testing.simulator import Simulator

    catalogue = Catalogue()
    for kind, name in (("llm", "openai"), ("storage", "fs")):
        catalogue.provider(kind, name)  # says which package to install
    with _own_environment() as folder, Simulator() as upstream:
        _Demo(folder, upstream, Paint.of(sys.stdout, no_color=args.no_color)).run()
    return 0


@contextmanager
def _own_environment() -> Iterator[Path]:
    """Give the demo a folder and nothing of the person's own: no settings, no key, no proxy."""
    with tempfile.TemporaryDirectory(prefix="llmcore-demo-", ignore_cleanup_errors=True) as folder:
        for name in list(os.environ):
            if name.startswith(
                ("LLMCORE__", "LLMCORE_CONFIG", "LLMCORE_PROFILE", "OPENAI_", "AZURE_OPENAI_")
            ):
                del os.environ[name]
        os.environ |= {"XDG_CONFIG_HOME": folder, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        yield Path(folder)


class _Demo:
    """One run, step by step."""

    def __init__(self, folder: Path, upstream: Simulator, paint: Paint) -> None:
        self._folder = folder
        self._upstream = upstream
        self._paint = paint
        self._number = 0

    def run(self) -> None:
        """Take every step in turn."""
        import llmcore

        print(self._paint("dim", _BEGIN))
        file = self._folder / "llmcore.toml"
        file.write_text(steps.configuration(self._folder, self._upstream.base_url), encoding="utf-8")
        with llmcore.load(file) as core:
            self._chat(core)
            self._cached(core)
            self._stream(core)
            self._busy(core)
            if "espeak" in Catalogue().names("voice"):
                self._speech(core)
            else:
                self._files(core)
        self._another(file)
        self._next()

    def _chat(self, core: Any) -> None:
        self._step("Ask a language model", 'core = llmcore.load("llmcore.toml")', *steps.source(steps.ask))
        reply, took_s = steps.timed(steps.ask, core)
        self._say(reply.text)
        line = footer(
            model=reply.model,
            usage=reply.usage,
            cost=reply.cost,
            cached=reply.cached,
            took_s=took_s,
            paint=_PLAIN,
        )
        self._figures(f"{line}, import included")

    def _cached(self, core: Any) -> None:
        self._step("Ask it again: the answer comes from the cache", "ask(core)")
        reply, took_s = steps.timed(steps.ask, core)
        times = sorted(steps.timed(steps.ask, core)[1] for _ in range(_AGAIN))
        what = "cached" if reply.cached else "not cached"
        first, median = seconds(took_s), seconds(times[_AGAIN // 2])
        times_told = f"in {first}, then {median} (median of {_AGAIN})"
        self._say(f"{what}, {dollars(reply.cost)}, {times_told}; upstream requests: {self._requests()}")

    def _stream(self, core: Any) -> None:
        from llmcore.testing.simulator import Fault

        self._step("Print an answer while it arrives", *_body(steps.tell))
        self._upstream.fail(Fault.slow(bytes_per_second=_SPEED))
        print(self._paint("cyan", "  > "), end="", flush=True)
        _, took_s = steps.timed(steps.tell, core)
        print(self._paint("dim", f"   ({seconds(took_s)})"))

    def _busy(self, core: Any) -> None:
        from llmcore.testing.simulator import Fault

        self._step("A busy upstream (429, Retry-After: 1) is waited out", *_body(steps.name))
        self._upstream.fail(Fault.status(429, retry_after=1))
        before = self._requests()
        reply, took_s = steps.timed(steps.name, core)
        self._say(reply.text)
        self._figures(f"answered at attempt {self._requests() - before}, after {seconds(took_s)}")

    def _files(self, core: Any) -> None:
        self._step("Keep an answer as a file, through the storage fs", *_body(steps.keep))
        loaded = steps.keep(core)
        path = self._folder / "data" / "answers" / "sky.txt"
        same = "the same" if path.read_bytes() == loaded else "not the same"
        self._say(f"{len(loaded)} bytes read back, {same} as in the file data/answers/sky.txt")

    def _speech(self, core: Any) -> None:
        import wave

        self._step("Speak an answer, offline, and keep it through the storage fs", *_body(steps.speak))
        steps.speak(core)
        loaded = core.storage.load("answers/sky.wav")
        path = self._folder / "data" / "answers" / "sky.wav"
        same = "the same" if path.read_bytes() == loaded else "not the same"
        with wave.open(str(path)) as file:
            length = file.getnframes() / file.getframerate()
        self._say(f"{length:.1f} s of speech; {len(loaded)} bytes read back, {same} as in the file")

    def _another(self, file: Path) -> None:
        import llmcore

        old, new = 'provider = "openai"', 'provider = "echo"'
        file.write_text(file.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
        self._step("Change one word of llmcore.toml: the same application, another backend")
        print("    " + self._paint("red", f"- {old}") + "    " + self._paint("green", f"+ {new}"))
        print("    " + self._paint("green", "ask(core)"))
        with llmcore.load(file) as core:
            before = self._requests()
            reply = steps.ask(core)
        self._say(reply.text)
        asked = self._requests() - before
        self._figures(
            f"answered by {reply.provider}, {dollars(reply.cost)}, with {asked} requests to the upstream"
        )

    def _next(self) -> None:
        command = _command()
        bold = self._paint("bold", "Next, with a key or a server of your own (Ollama, vLLM, ...):")
        print(f"\n{bold}")
        for line in steps.NEXT.splitlines():
            print(f"  {line.replace('llmcore ', f'{command} ', 1)}")

    def _step(self, title: str, *code: str) -> None:
        """Print a step's title and the lines that are about to run."""
        self._number += 1
        print(f"\n{self._paint('cyan', str(self._number))} {self._paint('bold', title)}")
        for line in code:
            print(f"    {self._paint('green', line)}")

    def _say(self, text: str) -> None:
        print(self._paint("cyan", "  > ") + text)

    def _figures(self, text: str) -> None:
        print("    " + self._paint("dim", text))

    def _requests(self) -> int:
        return self._upstream.counts["requests"]


def _body(function: Callable[..., Any]) -> list[str]:
    return dedent("\n".join(steps.source(function)[1:])).replace("return ", "").splitlines()


def _command() -> str:
    """Return how a person calls this program here."""
    script, found = Path(sys.argv[0]), shutil.which("llmcore")
    if found and Path(found).resolve() == script.resolve():
        return "llmcore"
    if script.stem != "llmcore":
        return "python -m llmcore"
    try:
        return str(script.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(script)
