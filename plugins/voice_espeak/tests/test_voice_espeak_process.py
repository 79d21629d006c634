"""A worker ends with its parent, is not shared with a forked child, and raises an error if it cannot be started."""

from __future__ import annotations

import errno
import functools
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from llmcore.errors import VoiceError
from llmcore_voice_espeak.pool import LIMIT, get_shared_pool
from llmcore_voice_espeak.provider import EspeakVoice
from tests.kits.espeak import (
    SPEAKER,
    count_descriptors,
    find_workers,
    has_ended,
    linux,
    no_workers,  # noqa: F401 - a fixture
    posix,
    run_python,
)
from tests.kits.waiting import wait_until

pytestmark = pytest.mark.usefixtures("no_workers")


@linux
@pytest.mark.parametrize("ending", ["os.kill(os.getpid(), 9)", "os._exit(0)", "sys.exit(0)"])
def test_a_worker_ends_with_its_parent(ending: str) -> None:
    code = SPEAKER + (
        "stream = voice.stream_speech('It rains. ' * 50_000, format='pcm')\nnext(stream)\n"
        "print(*pids(), flush=True)\n" + ending
    )
    done = run_python(code)
    assert done.stdout.split(), done.stderr
    for pid in done.stdout.split():
        wait_until(functools.partial(has_ended, int(pid)))


@linux
def test_a_forked_child_shares_no_pipe() -> None:
    code = SPEAKER + (
        "before = set(pids())\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    assert not pids()\n"
        "    assert voice.synthesize('Hello.').audio and not set(pids()) & before\n"
        "    print(*before, flush=True)\n"
        "    os.kill(os.getppid(), 9)\n"
        "    sys.stdin.read()\n"
        "os.waitpid(child, 0)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        said = process.stdout.readline().split()
        assert said, process.stderr.read()
        for pid in said:  # they end although the child of their parent lives on
            wait_until(functools.partial(has_ended, int(pid)))


@posix
def test_a_stream_is_not_read_on_in_a_child() -> None:
    code = SPEAKER + (
        "from llmcore.errors import VoiceError\n"
        "stream = voice.stream_speech('It rains. ' * 500, format='pcm')\nfirst = next(stream)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    try:\n        list(stream)\n    except VoiceError:\n        os._exit(7)\n    os._exit(1)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7\n"
        "assert first + b''.join(stream) == voice.synthesize('It rains. ' * 500, format='pcm').audio\n"
    )
    done = run_python(code)
    assert (done.returncode, done.stderr) == (0, "")


@linux
def test_nothing_is_printed_and_closed_standard_streams_do_no_harm() -> None:
    done = run_python(SPEAKER + "voice.synthesize('a b c', 'kaa')")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    code = SPEAKER + "sys.exit(0 if voice.synthesize('Hello.').audio else 1)"
    command = f'exec {sys.executable} -c "$1" <&- >&- 2>&-'
    assert subprocess.run(["sh", "-c", command, "sh", code], check=False, timeout=60).returncode == 0


@linux
def test_a_worker_knows_no_keys_and_takes_no_module_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "queue.py").write_text("raise SystemExit(3)")
    env = {**os.environ, "OPENAI_API_KEY": "sk-secret", "PYTHONPATH": "", "PYTHONSTARTUP": "x"}
    code = SPEAKER + "print(open(f'/proc/{pids()[0]}/environ').read(), os.readlink(f'/proc/{pids()[0]}/cwd'))"
    (tmp_path / "sub").mkdir()
    done = run_python("import os, sys; sys.path.remove('')\n" + code, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert "sk-secret" not in done.stdout
    assert done.stdout.endswith(" /\n")


# -- a system that gives nothing more


@linux
def test_without_descriptors_it_is_a_voice_error_and_nothing_stays_open() -> None:
    code = (
        "import os, resource\n" + SPEAKER + "voice.close()\n"
        "from llmcore.errors import VoiceError\n"
        "import subprocess\n"
        "soft = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "count = lambda: len(os.listdir('/proc/self/fd'))\n"
        "before = count()\n"
        "for more in range(6):\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (before - 1 + more, soft[1]))\n"
        "    try:\n"
        "        voice.synthesize('Hello.')\n"
        "        failed = False\n"
        "    except VoiceError as error:\n"
        "        failed = 'cannot start its worker process' in str(error)\n"
        "        assert error.__context__ is None\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, soft)\n"
        "    assert failed, more\n"
        "    assert count() == before and not pids(), (count(), before)\n"
        "assert voice.synthesize('Hello.').audio\n"
    )
    done = run_python(code)
    assert (done.returncode, done.stderr) == (0, "")


@linux
def test_without_processes_it_is_a_voice_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    before = count_descriptors()
    with monkeypatch.context() as patch:
        patch.setattr("subprocess._fork_exec", refuse)
        for _ in range(LIMIT + 1):
            with pytest.raises(VoiceError, match=os.strerror(errno.EAGAIN)):
                EspeakVoice().synthesize("Hello.")
    assert count_descriptors() == before
    assert EspeakVoice().synthesize("Hello.").audio


@linux
def test_without_threads_it_speaks_or_it_is_a_voice_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    wait_until(lambda: get_shared_pool()._reaper is None)
    voice = EspeakVoice()
    before = count_descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert voice.synthesize("Hello.").audio
        assert not find_workers(), "nothing would end it"
        for call in (
            lambda: voice.synthesize("Hello.", format="mp3"),
            lambda: list(voice.stream_speech("Hello.")),
        ):
            with pytest.raises(VoiceError, match="cannot start a thread"):
                call()
    assert count_descriptors() == before
    assert list(voice.stream_speech("Hello."))
