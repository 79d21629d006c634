"""The import and the creation of a plugin count against the deadline of the call that needs it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.kits.cli import CommandLine

PLUGIN = """
import threading
{on_import}
from llmcore.hookspecs import Options, Provider, hookimpl
from llmcore.types import Reply, Usage

LLMCORE_API = 1


class Slow:
    def __init__(self, options):
        {on_create}

    def complete(self, request):
        return Reply(text="well", model=request.model, finish_reason="stop", usage=Usage())


@hookimpl
def llmcore_llm_providers():
    yield Provider(name="slow", options=Options, create=Slow)
"""
HANGS = "threading.Event().wait()"


@pytest.fixture
def cli(tmp_path: Path) -> CommandLine:
    return CommandLine(tmp_path)


def install(cli: CommandLine, *, on_import: str = "", on_create: str = "pass") -> None:
    text = PLUGIN.format(on_import=on_import, on_create=on_create)
    cli.install("llmcore-slow", {"llmcore.llm": "slow = llmcore_slow"}, {"llmcore_slow": text})


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (
            "on_import",
            "plugin `llmcore-slow 1.0` was still being imported when the deadline of the call passed",
        ),
        ("on_create", "the llm provider `slow` was still being created when the deadline of the call passed"),
    ],
)
def test_a_plugin_that_hangs_ends_the_call_at_its_deadline(cli: CommandLine, part: str, said: str) -> None:
    install(cli, **{part: HANGS})
    done = cli("ask", "--timeout", "2s", "-m", "slow:any", "Hello")
    assert done.returncode not in (0, 1)
    assert done.stdout == ""
    assert said in done.stderr
    if part == "on_import":
        assert "llmcore_slow.py:3" in done.stderr, "the line that hangs is named"


def test_a_plugin_in_time_answers(cli: CommandLine) -> None:
    install(cli)
    assert cli("ask", "--timeout", "60s", "-m", "slow:any", "Hello").stdout == "well\n"


def test_a_plugin_may_set_a_handler_of_signals(cli: CommandLine) -> None:
    """Only the main thread may do so."""
    install(cli, on_import="import signal\nsignal.signal(signal.SIGUSR1, signal.SIG_IGN)")
    assert cli("ask", "--timeout", "60s", "-m", "slow:any", "Hello").stdout == "well\n"


CACHE = """
import threading
from llmcore.builtin.memory_cache import MemoryCache
from llmcore.hookspecs import Options, Provider, hookimpl

LLMCORE_API = 1


def create(options):
    threading.Thread(target=threading.Event().wait, args=(4.0,), name="heart").start()
    return MemoryCache()


@hookimpl
def llmcore_cache_providers():
    yield Provider(name="beating", options=Options, create=create)
"""


def test_a_thread_that_keeps_the_program_alive_is_named(cli: CommandLine) -> None:
    cli.install("llmcore-beating", {"llmcore.cache": "beating = llmcore_beating"}, {"llmcore_beating": CACHE})
    cli.fork = False  # a fork ends without waiting for threads
    done = cli("ask", "Hello", LLMCORE__CACHE__PROVIDER="beating")
    assert done.returncode == 0
    assert done.stderr == (
        "warning: the program does not end, because the thread 'heart' of the cache provider `beating` still runs: "
        "start it with daemon=True\n"
    )


CALL_TWICE = """
import llmcore
from llmcore.errors import Timeout

with llmcore.load() as core:
    for _ in range(2):
        try:
            core.llm.chat("Hello", model="slow:any", timeout=2)
        except Timeout as error:
            print(error.message)
"""


def test_each_call_ends_at_its_deadline_while_an_import_hangs(cli: CommandLine) -> None:
    """The first call leaves a module in sys.modules whose import has not ended."""
    install(cli, on_import=HANGS)
    cli.command = (sys.executable, "-c")
    done = cli(CALL_TWICE)
    assert done.stdout.count("was still being imported when the deadline of the call passed") == 2, (
        done.stderr
    )


CALL_AT_IMPORT = """
import llmcore

with llmcore.load() as core:
    print(core.llm.chat("Hello", model="slow:any", timeout=60).text)
"""


def test_an_application_may_call_while_it_is_imported(cli: CommandLine) -> None:
    """The plugin imports the package of the application, whose lock the import holds."""
    cli.install("llmcore-slow", {"llmcore.llm": "slow = acme.slow"}, {})
    package = cli.site / "acme"
    package.mkdir()
    (package / "__init__.py").write_text(CALL_AT_IMPORT)
    (package / "slow.py").write_text(PLUGIN.format(on_import="import acme", on_create="pass"))
    cli.command = (sys.executable, "-c")
    done = cli("import acme")
    assert done.stdout == "well\n", done.stderr


GATE = """
import threading

reached, opened = threading.Event(), threading.Event()


def pass_gate():
    reached.set()
    opened.wait()
"""
CALL_DURING_CALL = """
import threading
import gate
import llmcore
from llmcore.errors import Timeout

with llmcore.load() as core:
    def call():
        print(core.llm.chat("Hello", model="slow:any", timeout=60).text)

    first = threading.Thread(target=call)
    first.start()
    gate.reached.wait()
    try:
        core.llm.chat("Hello", model="slow:any", timeout=2, cache=False)
    except Timeout as error:
        print(error.message)
    gate.opened.set()
    first.join()
"""


@pytest.mark.parametrize(("part", "said"), [("on_import", "imported"), ("on_create", "created")])
def test_a_call_keeps_its_deadline_while_another_call_loads_the_plugin(
    cli: CommandLine, part: str, said: str
) -> None:
    install(cli, **{part: "__import__('gate').pass_gate()"})
    (cli.site / "gate.py").write_text(GATE)
    cli.command = (sys.executable, "-c")
    late, answer = cli(CALL_DURING_CALL).stdout.splitlines()
    assert late.endswith(f"was still being {said} when the deadline of the call passed")
    assert answer == "well", "the other call keeps its own deadline"


CALLS_IN_A_LOOP = """
import asyncio
import llmcore
from llmcore.errors import Timeout


async def call(core):
    try:
        {call}
    except Timeout as error:
        print(error.message)


async def main():
    async with llmcore.load() as core:
        await call(core)


asyncio.run(main())
"""
CALLS = (
    'await core.llm.achat("Hello", model="slow:any", timeout=2)',
    'print([piece async for piece in core.llm.astream("Hello", model="slow:any", timeout=2)])',
)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("part", "said"), [("on_import", "imported"), ("on_create", "created")])
def test_a_task_keeps_its_deadline_while_a_plugin_hangs(
    cli: CommandLine, part: str, said: str, call: str
) -> None:
    install(cli, **{part: HANGS})
    cli.command = (sys.executable, "-c")
    done = cli(CALLS_IN_A_LOOP.format(call=call))
    # The request and the call that shares it have the same deadline. Either may report it.
    reports = (
        f"was still being {said} when the deadline of the call passed\n",
        "shared the request of an identical call\n",
    )
    assert done.stdout.endswith(reports), done.stdout + done.stderr


NEEDS_LOOP = "import asyncio\n        self.loop = asyncio.get_running_loop()"


def test_a_provider_may_need_the_event_loop_to_be_created(cli: CommandLine) -> None:
    install(cli, on_create=NEEDS_LOOP)
    cli.command = (sys.executable, "-c")
    call = 'print((await core.llm.achat("Hello", model="slow:any", timeout=60)).text)'
    done = cli(CALLS_IN_A_LOOP.format(call=call))
    assert done.stdout == "well\n", done.stderr


TASKS = """
import asyncio
import gate
import llmcore


async def main():
    async with llmcore.load() as core:
        call = asyncio.create_task(core.llm.achat("Hello", model="slow:any", timeout=60))
        await asyncio.to_thread(gate.reached.wait)
        gate.opened.set()
        print((await call).text)


asyncio.run(main())
"""


def test_an_event_loop_goes_on_while_a_provider_is_created(cli: CommandLine) -> None:
    install(cli, on_create="__import__('gate').pass_gate()")
    (cli.site / "gate.py").write_text(GATE)
    cli.command = (sys.executable, "-c")
    done = cli(TASKS)
    assert done.stdout == "well\n", done.stderr


LOAD = """
import logging
import gate
import llmcore
import llmcore.plugin_import


class Opener(logging.Handler):
    def emit(self, record):
        print(record.getMessage())
        gate.opened.set()


llmcore.plugin_import.SLOW_IMPORT_S = 0.1
logging.getLogger("llmcore").addHandler(Opener())
with llmcore.load({"llm": {"provider": "slow", "model": "any"}}) as core:
    print(core.llm.chat("Hello").text)
"""


def test_the_log_names_a_plugin_whose_import_takes_long(cli: CommandLine) -> None:
    """`llmcore.load` sets no limit: the import ends after the warning."""
    install(cli, on_import="__import__('gate').pass_gate()")
    (cli.site / "gate.py").write_text(GATE)
    cli.command = (sys.executable, "-c")
    done = cli(LOAD)
    warning, answer = done.stdout.splitlines()
    assert warning.startswith("plugin `llmcore-slow 1.0` is still being imported after 0.1 s (")
    assert "llmcore_slow.py:3)" in warning
    assert answer == "well"
