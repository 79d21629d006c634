"""A signal that arrives while the supervisor starts a worker reaches that worker too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="signals of POSIX")

SCRIPT = """
import os, signal, socket, subprocess, sys

class InterruptedPopen(subprocess.Popen):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        os.kill(os.getpid(), int(sys.argv[2]))  # the handler runs before the supervisor knows the worker

subprocess.Popen = InterruptedPopen

from llmcore_gateway.supervisor import Supervisor
from llmcore_gateway.worker import Source

with socket.create_server(("127.0.0.1", 0)) as listener:
    sys.exit(Supervisor(Source(sys.argv[1]), listener, 1).run())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_start_of_a_worker_stops_the_server(tmp_path: Path, number: int) -> None:
    path = tmp_path / "llmcore.toml"
    path.write_text('[llm]\nprovider = "echo"\n\n[gateway]\ndrain_delay = "10ms"\n')
    supervisor = subprocess.Popen([sys.executable, "-c", SCRIPT, str(path), str(int(number))])
    try:
        assert supervisor.wait(60) == 0
    finally:
        if supervisor.poll() is None:
            supervisor.send_signal(signal.SIGINT)
            supervisor.wait(60)
