"""An HTTP server on loopback that answers every request with the same bytes."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["BodyServer"]


class BodyServer:
    """Sends a body in chunks, one for each item, and then its end or nothing more."""

    def __init__(
        self, sent: Sequence[bytes], kind: str, status: int = 200, *, leaves_open: bool = False
    ) -> None:
        """Start to serve.

        Args:
            sent: The body, one item per write.
            kind: The content type.
            status: The status of the answer.
            leaves_open: Whether the connection stays open, without the end of the body, until `close`.
        """
        self._leave = leave = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.do_POST()

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                with contextlib.suppress(OSError):  # a client that has read enough
                    for piece in sent:
                        self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                        self.wfile.flush()
                    if leaves_open:
                        leave.wait()
                        self.close_connection = True
                    else:
                        self.wfile.write(b"0\r\n\r\n")

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the server and its connections."""
        self._leave.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
