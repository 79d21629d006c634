"""The simulator on the command line, and as a fixture in third-party tests."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "llmcore_testing.simulator"]
CHAT = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}]})


@contextmanager
def run_simulator(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def chat(base_url: str, key: str = "k") -> tuple[int, str]:
    with closing(http.client.HTTPConnection(base_url.split("/")[2], timeout=30)) as connection:
        connection.request("POST", "/v1/chat/completions", CHAT, {"authorization": f"Bearer {key}"})
        response = connection.getresponse()
        return response.status, response.read().decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_its_address_first_and_ends_cleanly_on_a_signal(number: signal.Signals) -> None:
    with (
        run_simulator("--fault", "hang:times=always") as (process, base_url),
        closing(http.client.HTTPConnection(base_url.split("/")[2], timeout=30)) as connection,
    ):
        connection.request("POST", "/v1/chat/completions", CHAT, {"authorization": "Bearer k"})
        process.send_signal(number)
        rest, output = process.communicate(timeout=120)
    assert base_url.startswith("http://127.0.0.1:")
    assert base_url.endswith("/v1")
    assert process.returncode == 0
    assert rest == ""
    assert len(output.splitlines()) == 2
    assert f"OPENAI_BASE_URL={base_url}" in output


def test_faults_keys_and_the_answer_are_arguments() -> None:
    arguments = ["--fault", "429:retry_after=1", "--fault", "html", "--api-key", "sk-1", "--reply", "Paris."]
    with run_simulator(*arguments) as (_, base_url):
        assert chat(base_url)[0] == 401
        assert chat(base_url, "sk-1")[0] == 429
        assert chat(base_url, "sk-1")[1].startswith("<!doctype html>")
        assert json.loads(chat(base_url, "sk-1")[1])["choices"][0]["message"]["content"] == "Paris."


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(["--fault", "hung"], "did you mean `hang`?"), (["--port", "70000"], "`port` must be 0")],
)
def test_a_wrong_argument_is_reported_without_a_traceback(arguments: list[str], expected: str) -> None:
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_the_fixture_starts_a_server_for_each_test_and_takes_settings_from_a_marker(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        """
import sys
import urllib.request, urllib.error
import pytest

def test_nothing_is_loaded_for_a_test_that_does_not_ask():
    assert not [name for name in sys.modules if name.startswith("llmcore_testing.simulator")]
    assert "asyncio" not in sys.modules

seen = []

@pytest.mark.parametrize("number", [1, 2])
def test_fresh(llmcore_simulator, number):
    assert llmcore_simulator.requests == []
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(llmcore_simulator.base_url + "/models")
    caught.value.close()
    assert len(llmcore_simulator.requests) == 1

@pytest.mark.llmcore_simulator(models=["only"])
def test_settings(llmcore_simulator):
    request = urllib.request.Request(
        llmcore_simulator.base_url + "/models", headers={"authorization": "Bearer k"}
    )
    with urllib.request.urlopen(request) as answer:
        assert b'"only"' in answer.read()
""",
        encoding="utf-8",
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--strict-markers",
        "-W",
        "error",
        "-p",
        "no:cacheprovider",
    ]
    only_ours = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [*command, "-p", "llmcore_testing.pytest_plugin", str(tmp_path)],
        capture_output=True, text=True, timeout=100, check=False, env=only_ours, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout
