"""`llmcore config init` finds a key or a model server, and writes five lines that work."""

from __future__ import annotations

import http.server
import json
import socket
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmcore.cli.first_config import KEYS, LOCAL_SERVERS, find_key, find_servers, render_start
from llmcore.plugins import Catalogue
from llmcore_testing import Simulator
from tests.kits.cli import CommandLine


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    for variable, _, _ in KEYS:
        monkeypatch.delenv(variable, raising=False)
    return CommandLine(tmp_path)


@pytest.fixture
def silent() -> Iterator[str]:
    """Give the address of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"


@pytest.fixture
def website() -> Iterator[str]:
    """Return the address of a web server without models, as on port 8080 of many machines."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"data": "<html>Welcome</html>"}')

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()


def test_a_key_makes_five_lines_that_have_no_fault(cli: CommandLine) -> None:
    done = cli("config", "init", OPENAI_API_KEY="any")
    assert done.returncode == 0
    text = (cli.folder / "llmcore.toml").read_text()
    assert len(text.splitlines()) == 5
    assert tomllib.loads(text)["llm"]["openai"] == {"api_key": "env:OPENAI_API_KEY"}
    assert "any" not in text
    assert cli("config", "check", OPENAI_API_KEY="any").returncode == 0
    assert "next: llmcore ask Hello" in done.stderr


@pytest.mark.parametrize(("variable", "provider", "model"), KEYS)
def test_every_key_has_a_model_that_its_provider_knows(variable: str, provider: str, model: str) -> None:
    start, notes = find_key({variable: "any"}, Catalogue())
    assert start is not None
    assert (start.provider, start.model, notes) == (provider, model, [])
    known = Catalogue().load_provider("llm", provider).known_models
    assert known is not None
    assert model in set(known({}))


def test_a_key_whose_provider_is_missing_is_a_note_with_the_line_to_install_it(cli: CommandLine) -> None:
    done = cli("config", "init", "--example", OPENAI_API_KEY="any", LLMCORE_PLUGINS="none")
    assert done.returncode == 0
    start, notes = find_key(
        {"OPENAI_API_KEY": "any", "ANTHROPIC_API_KEY": ""}, Catalogue({"LLMCORE_PLUGINS": "none"})
    )
    assert start is None
    assert len(notes) == 1
    assert "pip install" in notes[0]


@pytest.mark.parametrize(
    ("model", "written"), [("tiny", "tiny"), ("qwen3:4b", ":qwen3:4b"), ("org/tiny", "org/tiny")]
)
def test_a_server_makes_five_lines_that_answer(cli: CommandLine, model: str, written: str) -> None:
    with Simulator(models=["nomic-embed-text", model]) as server:
        for given in (server.base_url, server.base_url.removesuffix("/v1").removeprefix("http://")):
            (cli.folder / "llmcore.toml").unlink(missing_ok=True)
            done = cli("config", "init", "--server", given)
            assert done.returncode == 0, done.stderr
            text = (cli.folder / "llmcore.toml").read_text()
            assert len(text.splitlines()) == 5
            assert tomllib.loads(text)["llm"]["model"].endswith(written)
        server.replies("It answers.")
        assert cli("ask", "Hello", OPENAI_API_KEY="unused").stdout == "It answers.\n"
        assert server.requests[-1].body["model"] == model


def test_the_usual_servers_are_asked_at_the_same_time(silent: str, website: str) -> None:
    assert dict(LOCAL_SERVERS).keys() == {"ollama", "lmstudio", "llama_cpp", "vllm"}
    assert [address.rpartition(":")[2] for _, address in LOCAL_SERVERS] == [
        "11434/v1",
        "1234/v1",
        "8080/v1",
        "8000/v1",
    ]
    with socket.create_server(("127.0.0.1", 0)) as free:
        closed = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with Simulator(models=["tiny"]) as server:
        asked = [("a", closed), ("b", silent), ("c", website), ("d", server.base_url)]
        assert find_servers(asked, timeout_s=10) == [("d", server.base_url, ["tiny"])]


def test_an_address_without_a_model_server_is_an_error_and_writes_nothing(
    cli: CommandLine, website: str
) -> None:
    done = cli("config", "init", "--server", website)
    assert done.returncode == 2
    assert "no model server answers" in done.stderr
    assert not (cli.folder / "llmcore.toml").exists()


@pytest.mark.parametrize("options", [[], ["--example"], ["--server", "127.0.0.1:9"]])
def test_an_existing_file_is_never_overwritten(cli: CommandLine, options: list[str]) -> None:
    (cli.folder / "llmcore.toml").write_text("# mine\n")
    done = cli("config", "init", *options, OPENAI_API_KEY="any")
    assert done.returncode == 3
    assert "already exists" in done.stderr
    assert (cli.folder / "llmcore.toml").read_text() == "# mine\n"


def test_the_example_is_written_whatever_is_there(cli: CommandLine) -> None:
    assert cli("config", "init", "--example", "--user", OPENAI_API_KEY="any").returncode == 0
    file = Path(cli.env["XDG_CONFIG_HOME"], "llmcore/config.toml")
    assert "# [log]" in file.read_text()
    assert cli("config", "check").returncode == 0


def test_odd_names_of_models_stay_toml() -> None:
    from llmcore.cli.first_config import FirstConfig

    text = render_start(FirstConfig("openai", 'a"b\\c\n', "base_url", "http://x/v1", ""))
    assert tomllib.loads(text)["llm"]["model"] == 'a"b\\c\n'
    assert json.loads(json.dumps(tomllib.loads(text)))["llm"]["openai"] == {"base_url": "http://x/v1"}
