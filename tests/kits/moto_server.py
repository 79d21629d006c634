"""Runs moto's server: `python moto_server.py PORT FILES_PER_PAGE`. It serves one request at a time.

moto reads the condition of a PUT and writes the object later, so two of several writers can both win, and a reader can meet
half of a change. S3 lets neither happen.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import run_simple


class Serialized:
    """A WSGI application that serves one request at a time, once its body has arrived."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ.get("HTTP_TRANSFER_ENCODING"):  # its length is unknown
            return self._application(environ, start_response)
        length = int(environ.get("CONTENT_LENGTH") or 0)
        environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(length))  # before the lock is taken
        with self._lock:
            return list(self._application(environ, start_response))


if __name__ == "__main__":
    os.environ["MOTO_S3_DEFAULT_MAX_KEYS"] = sys.argv[2]
    application = Serialized(DomainDispatcherApplication(create_backend_app))
    run_simple("127.0.0.1", int(sys.argv[1]), application, threaded=True, request_handler=MotoRequestHandler)
