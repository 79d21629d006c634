"""The receiver of a webhook, and a way to wait for alerts."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

__all__ = ["Hook", "wait_for_alerts"]


class Hook:
    """The server of a webhook, which records its requests."""

    def __init__(self) -> None:
        bodies: list[Any] = []
        self.bodies = bodies

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook?token=canary"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        """Stop the server. A second call has no effect."""
        if not self._thread.is_alive():
            return
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


def wait_for_alerts() -> None:
    """Wait until every alert has been delivered. An alert may be found in a thread that starts another one."""
    while threads := [thread for thread in threading.enumerate() if thread.name == "llmcore-alert"]:
        for thread in threads:
            thread.join()
