"""`llmcore serve` and `llmcore keys` as processes: drain, reload, workers."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from llmcore.errors import LLMCoreError
from llmcore_gateway.keys_command import run as run_keys
from llmcore_gateway.serve_command import run as run_serve
from llmcore_testing.simulator import Simulator
from tests.kits.gateway import KEY, MODEL, Command, write_config
from tests.kits.waiting import wait_until

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="signals of POSIX")

CHATS = 'llmcore_requests_total{method="POST",path="/v1/chat/completions",'
BODY = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture
def upstream() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


def start(upstream: Simulator, folder: Path, *arguments: str, **variables: str) -> Command:
    command = Command(write_config(folder / "llmcore.toml", upstream), *arguments, **variables)
    command.wait_until_ready()
    return command


def test_keys_are_created_listed_and_revoked_at_the_command_line(upstream: Simulator, tmp_path: Path) -> None:
    command = start(upstream, tmp_path)
    try:
        assert command.http.post("/v1/chat/completions", json=BODY).status_code == 200
        made = command.keys(
            "create", "ann", "--budget", "5 USD", "--per", "month", "--models", "fast", "--expires", "30d"
        )
        assert (made["name"], made["budget"], made["per"], made["models"]) == ("ann", "5", "month", ["fast"])
        headers = {"authorization": f"Bearer {made['key']}"}
        wait_until(lambda: command.http.get("/v1/models").status_code == 401)
        asked = {**BODY, "model": "fast"}
        assert command.http.post("/v1/chat/completions", json=asked, headers=headers).status_code == 200
        assert [key["state"] for key in command.keys("list")] == ["valid"]
        assert "key" not in command.keys("list")[0]
        command.keys("revoke", "ann")
        wait_until(lambda: command.http.get("/v1/models", headers=headers).status_code == 401)
        assert made["key"] not in command.log()
    finally:
        command.close()


def test_a_period_without_a_budget_is_refused(upstream: Simulator, tmp_path: Path) -> None:
    path = write_config(tmp_path / "llmcore.toml", upstream)
    with pytest.raises(LLMCoreError, match="--per month needs --budget"):
        run_keys(["create", "ann", "--per", "month", "--config", str(path)])


def test_a_key_for_a_model_that_is_not_served_gets_a_warning(
    upstream: Simulator,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("UPSTREAM_KEY", KEY)
    path = write_config(tmp_path / "llmcore.toml", upstream)
    for number, (models, warned) in enumerate(
        [("fast,gpt-4o*", []), ("nope", ["nope"]), (f"openai:{MODEL}", [])]
    ):
        assert run_keys(["create", f"ann{number}", "--models", models, "--config", str(path)]) == 0
        found = capsys.readouterr().err.splitlines()
        assert [line.split("`")[1] for line in found if line.startswith("warning: ")] == warned


def test_a_damaged_ledger_is_reported_before_the_port_is_taken(
    upstream: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPSTREAM_KEY", KEY)
    path = write_config(tmp_path / "llmcore.toml", upstream)
    (tmp_path / "damaged").write_text("not a database" * 100)
    path.write_text(re.sub(r"(\[ledger\]\npath = ).*", rf'\1"{tmp_path / "damaged"}"', path.read_text()))
    for command, verb in ((run_keys, "written"), (run_serve, "read")):
        arguments = ["create", "ann"] if command is run_keys else ["--port", "0"]
        with pytest.raises(LLMCoreError, match=f"the ledger cannot be {verb}") as caught:
            command([*arguments, "--config", str(path)])
        assert (caught.value.code, caught.value.fix) == ("LC610", "llmcore doctor")


@contextmanager
def stopping(upstream: Simulator, folder: Path) -> Iterator[Command]:
    """Yield a server that has got SIGTERM while a request is in flight; then check its answer and its end."""
    command = start(upstream, folder)
    try:
        upstream.hold()
        answers: list[httpx2.Response] = []
        asking = threading.Thread(
            target=lambda: answers.append(command.http.post("/v1/chat/completions", json=BODY))
        )
        asking.start()
        upstream.wait_for_requests(1, 60)
        command.process.send_signal(signal.SIGTERM)
        wait_until(lambda: command.http.get("/health/ready").status_code == 503)
        yield command
        upstream.release()
        asking.join(60)
        assert answers[0].status_code == 200
        assert command.process.wait(60) == 0, "a signal ended it before it closed its Core"
    finally:
        command.close()


def test_a_stopping_server_finishes_its_answers(upstream: Simulator, tmp_path: Path) -> None:
    with stopping(upstream, tmp_path) as command:
        served = command.http.get("/v1/models")
        assert (served.status_code, served.headers["connection"]) == (200, "close")


def test_a_second_sigterm_stops_the_server_after_its_answers(upstream: Simulator, tmp_path: Path) -> None:
    with stopping(upstream, tmp_path) as command:
        command.process.send_signal(signal.SIGTERM)
        wait_until(lambda: is_refused(command))


def is_refused(command: Command) -> bool:
    try:
        command.http.get("/health/ready")
    except httpx2.TransportError:
        return True
    return False


def test_a_reload_takes_the_new_configuration_and_keeps_the_old_one_if_it_has_faults(
    upstream: Simulator, tmp_path: Path
) -> None:
    command = start(upstream, tmp_path)
    path = tmp_path / "llmcore.toml"
    try:
        path.write_text(path.read_text().replace("fast =", "quick ="))
        command.process.send_signal(signal.SIGHUP)
        wait_until(lambda: command.http.get("/v1/models/quick").status_code == 200)
        assert command.http.get("/v1/models/fast").status_code == 404
        path.write_text(path.read_text().replace("quick =", "quick"))
        command.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "the new configuration has faults" in command.log())
        assert command.http.get("/v1/models/quick").status_code == 200
        assert command.http.post("/v1/chat/completions", json=BODY).status_code == 200
    finally:
        command.close()


def test_a_reload_keeps_the_old_core_open_for_a_call_without_its_client(
    upstream: Simulator, tmp_path: Path
) -> None:
    more = f"""on_disconnect = "finish"

[llm.anthropic]  # closing this provider ends its requests
base_url = "{upstream.url}"
api_key = "env:UPSTREAM_KEY"

[cache]
provider = "file"
file = {{ cache_dir = "./kept" }}
"""
    path = write_config(tmp_path / "llmcore.toml", upstream, more)
    path.write_text(
        path.read_text().replace("[models]\n", '[models]\nclaude = "anthropic:claude-sonnet-5"\n')
    )
    command = Command(path)
    body = {**BODY, "model": "claude"}
    try:
        command.wait_until_ready()
        upstream.hold()
        data = json.dumps(body).encode()
        with socket.create_connection(("127.0.0.1", int(command.url.rpartition(":")[2]))) as client:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(data)}\r\n\r\n"
            client.sendall(head.encode() + data)
            upstream.wait_for_requests(1, 60)
        wait_until(lambda: "llmcore_disconnects_total{" in command.http.get("/metrics").text)
        path.write_text(path.read_text().replace("fast =", "quick ="))
        command.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "reloaded the configuration" in command.log())
        assert command.http.get("/v1/models/quick").status_code == 200
        assert upstream.in_flight == 1, "the new Core serves, and the call of the old one goes on"
        upstream.release()
        wait_until(lambda: upstream.in_flight == 0)
        answer = command.http.post("/v1/chat/completions", json=body)
        assert (answer.status_code, answer.headers["x-llmcore-cached"]) == (200, "true")
        assert upstream.counts["requests"] == 1
    finally:
        command.close()


def test_a_server_without_a_home_folder_serves_and_says_what_it_cannot_keep(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "llmcore.toml"
    path.write_text('[llm]\nprovider = "echo"\n')
    empty = dict.fromkeys(("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"), "")
    command = Command(path, HOME=str(tmp_path / "file" / "home"), **empty)
    try:
        command.wait_until_ready()
        answer = command.http.post("/v1/chat/completions", json={**BODY, "model": "default"})
        assert answer.status_code == 200
        wait_until(lambda: "/ledger.sqlite3 cannot be written" in command.log())
        assert "the cache cannot use the folder" in command.log()
    finally:
        command.close()


def test_workers_share_cache_keys_and_budgets_and_are_started_again(
    upstream: Simulator, tmp_path: Path
) -> None:
    command = start(upstream, tmp_path, "--workers", "2", TMPDIR=str(tmp_path))
    try:
        made = command.keys("create", "ann", "--budget", "0.0001 USD")
        headers = {"authorization": f"Bearer {made['key']}"}
        wait_until(lambda: command.http.get("/v1/models").status_code == 401)
        statuses: list[int] = []

        def ask(seed: int) -> None:
            with httpx2.Client(base_url=command.url, timeout=60) as http:
                body = {**BODY, "seed": seed, "max_tokens": 20}
                statuses.append(http.post("/v1/chat/completions", json=body, headers=headers).status_code)

        threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert set(statuses) == {200, 429}
        assert upstream.counts["requests"] == statuses.count(200)
        wait_until(lambda: count_published(tmp_path) == 30)
        assert count_chats(command, headers) == 30
        children = set(find_children(command.process.pid))
        assert len(children) == 2
        os.kill(min(children), signal.SIGKILL)
        wait_until(lambda: len(new := set(find_children(command.process.pid))) == 2 and new != children)
        wait_until(command.is_ready)
        assert count_chats(command, headers) == 30, "the counts of the dead worker stay"
        alone = "llmcore_requests_in_progress 1\n"
        wait_until(lambda: alone in command.http.get("/metrics", headers=headers).text)
        command.process.send_signal(signal.SIGTERM)
        assert command.process.wait(60) == 0
        wait_until(lambda: not any(is_running(child) for child in children))
    finally:
        command.close()


def test_a_worker_that_is_killed_while_it_starts_is_replaced(upstream: Simulator, tmp_path: Path) -> None:
    command = Command(write_config(tmp_path / "llmcore.toml", upstream), "--workers", "2")
    try:
        wait_until(lambda: len(set(find_children(command.process.pid))) == 2)
        children = set(find_children(command.process.pid))
        os.kill(min(children), signal.SIGKILL)
        wait_until(lambda: len(new := set(find_children(command.process.pid))) == 2 and new != children)
        command.wait_until_ready()
    finally:
        command.close()
    assert command.process.returncode == 0, command.log()


def test_workers_that_cannot_start_end_the_server(upstream: Simulator, tmp_path: Path) -> None:
    command = start(upstream, tmp_path, "--workers", "2")
    try:
        path = tmp_path / "llmcore.toml"
        path.write_text(path.read_text().replace("[models]", "[models"))
        os.kill(min(find_children(command.process.pid)), signal.SIGKILL)
        assert command.process.wait(120) == 1
        # One fewer than three if the killed worker had not served.
        assert command.log().count("; starting another") >= 2
        assert "before it served" in command.log()
        assert "KeyboardInterrupt" not in command.log()
    finally:
        command.close()


def count_chats(command: Command, headers: dict[str, str]) -> int:
    """Return the finished chats that the metrics count, of all workers."""
    lines = command.http.get("/metrics", headers=headers).text.splitlines()
    return sum(int(line.split()[-1]) for line in lines if line.startswith(CHATS))


def count_published(folder: Path) -> int:
    """Return the finished chats in the files of all workers, which outlive them."""
    files = [json.loads(file.read_text()) for file in folder.glob("llmcore-gateway-*/*.json")]
    return sum(int(value) for file in files for sample, value in file.items() if sample.startswith(CHATS))


def find_children(parent: int) -> Iterator[int]:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, of, *_ = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(of) == parent and state != "Z":
            yield int(stat.parent.name)


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--host", "0.0.0.0"], 3, "keys create me"),  # noqa: S104 - it is refused
        (["--host", "203.0.113.7"], 3, "keys create me"),
        (["--port", "99999"], 3, "65535"),
        (["--prot", "1"], 2, "--prot"),
    ],
)
def test_a_configuration_that_cannot_be_served_is_reported(
    upstream: Simulator, tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    config = write_config(tmp_path / "llmcore.toml", upstream)
    done = run("serve", "--config", str(config), *arguments)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_reported(upstream: Simulator, tmp_path: Path) -> None:
    config = write_config(tmp_path / "llmcore.toml", upstream)
    port = upstream.url.rpartition(":")[2]
    done = run("serve", "--config", str(config), "--port", port)
    assert done.returncode == 1
    assert "cannot listen on 127.0.0.1" in done.stderr
    assert "serve --port 0" in done.stderr


def test_a_misspelt_key_of_the_table_is_reported(upstream: Simulator, tmp_path: Path) -> None:
    config = write_config(tmp_path / "llmcore.toml", upstream, 'prot = 5\non_disconnect = "stop"\n')
    done = run("serve", "--config", str(config))
    assert done.returncode == 3
    assert "did you mean `port`?" in done.stderr
    assert '"stop"' in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "a b"], "a key's name must be"),
        (["create", "ann", "--budget", "much"], "--budget"),
        (["create", "ann", "--expires", "soon"], "--expires"),
        (["create", "ann", "--models", "fsat"], "fast"),
        (["revoke", "ann"], "there is no key `ann`"),
    ],
)
def test_mistakes_with_keys_are_reported(
    upstream: Simulator, tmp_path: Path, arguments: list[str], said: str
) -> None:
    config = write_config(tmp_path / "llmcore.toml", upstream)
    done = run("keys", *arguments, "--config", str(config))
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert json.loads(run("keys", "list", "--json", "--config", str(config)).stdout) == []


def test_a_key_is_created_without_the_keys_of_the_providers(upstream: Simulator, tmp_path: Path) -> None:
    config = write_config(tmp_path / "llmcore.toml", upstream)
    models = ("--models", "fast,other", "--config", str(config))
    done = run("keys", "create", "ann", *models, env={})
    assert done.returncode == 0, done.stderr
    assert "no model of this gateway is named `other`; it serves " in done.stderr
    assert "API key" not in done.stderr
    refused = run("serve", "--port", "0", "--config", str(config), env={})
    assert (refused.returncode, "UPSTREAM_KEY is not set" in refused.stderr) == (4, True), refused.stderr


def run(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "llmcore", *arguments],
        env={**os.environ, **({"UPSTREAM_KEY": KEY} if env is None else env)},
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )
