"""`Simulator`, an HTTP server in a thread of the test process."""

from __future__ import annotations

import asyncio  # noqa: TID253 - `import llmcore` does not load this module
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from threading import Event, Thread
from types import TracebackType
from typing import Final, Self

from llmcore.errors import ConfigError
from llmcore_testing.simulator.charges import Charge
from llmcore_testing.simulator.connection import Connection, ServerContext
from llmcore_testing.simulator.custom_routes import Handler, make_routes
from llmcore_testing.simulator.faults import Fault, parse_times
from llmcore_testing.simulator.gate import Gate
from llmcore_testing.simulator.routing import Settings
from llmcore_testing.simulator.script import PlannedFault, Script, Scripted
from llmcore_testing.simulator.separate_ledger import SeparateLedger
from llmcore_testing.simulator.service import Service
from llmcore_testing.simulator.synthesizers import find_synthesizer
from llmcore_testing.simulator.wire import RecordedRequest

__all__ = ["Simulator"]

_HOST: Final = "127.0.0.1"
_BACKLOG: Final = 1024
_own_ledger: Final = SeparateLedger()


class Simulator:
    """An HTTP server on 127.0.0.1 that speaks the protocols of OpenAI, Anthropic and ElevenLabs.

    Tests, demonstrations and benchmarks use it in place of a provider. Its answers are deterministic. It accepts requests
    between `start` (or `with`) and `close`. All methods are thread-safe.

    A Core that is loaded while a simulator runs, in this process or in a child, uses a separate ledger unless its
    configuration names one. Simulated calls therefore do not count against budgets.

    Args:
        port: The port to listen on; 0 takes a free port.
        api_keys: The accepted keys; None for any key that is not empty.
        reports_usage: True if a stream reports its usage even if the request did not ask for it, as Mistral does.
        needs_key: True if a request without a key is rejected. Local servers such as Ollama accept such a request.
        models: The models that exist; None for every name.
        latency_s: The delay in seconds before every answer.
        reply: The answer to each request that finds no queued answer from `replies`.
        headers: Headers to add to every successful answer. Such a header replaces a header of the same name:
            `{"x-ratelimit-remaining-requests": "0"}`.
        voice: The synthesizer for speech. "tone" makes 0.02 seconds of audio per character. The name of an installed
            voice provider that needs no key, such as "espeak", makes real speech.
        holds_batches: True if batches wait for `finish_batches`. Otherwise, a batch ends when the client first asks for
            its status or for a list.
        batch_window_s: An unfinished batch expires after this many seconds.
        batch_tokens: The maximum number of tokens in OpenAI's queued batches. A batch beyond this maximum fails with
            the code "token_limit_exceeded". Four characters of a request count as one token.
        keep_requests: The maximum number of recorded requests. Newer requests replace older ones.
        routes: Endpoints of another protocol, as `{"/api/chat": handler, "GET /api/tags": handler}`. A path may have
            placeholders, as in "/models/{name}". These routes take precedence. A handler gets the `RecordedRequest` and
            returns the body: a JSON value, text, or bytes. An iterator makes a stream of JSON lines, or of bytes that are
            sent unchanged. `(status, body)` also sets the status. Faults and counts apply as usual. Keys are
            checked only if `api_keys` is set. Of the faults that change the content, only `wrong_schema` applies.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        api_keys: Collection[str] | None = None,
        needs_key: bool = True,
        reports_usage: bool = False,
        models: Sequence[str] | None = None,
        latency_s: float = 0.0,
        reply: Scripted | None = None,
        headers: Mapping[str, str] | None = None,
        voice: str = "tone",
        holds_batches: bool = False,
        batch_window_s: float = 86_400.0,
        batch_tokens: int | None = None,
        keep_requests: int = 10_000,
        routes: Mapping[str, Handler] | None = None,
    ) -> None:
        if not 0 <= port <= 65535:
            raise ConfigError(f"`port` must be 0 to 65535, got {port}", expected="0 (any free port) to 65535")
        self._wanted_port = port
        self._port: int | None = None
        keys = None if api_keys is None else frozenset([api_keys] if isinstance(api_keys, str) else api_keys)
        known = None if models is None else tuple([models] if isinstance(models, str) else models)
        self._script = Script(keep_requests=keep_requests)
        self._gate = Gate()
        own = {name.lower(): value for name, value in (headers or {}).items()}
        settings = Settings(
            api_keys=keys,
            needs_key=needs_key,
            reports_usage=reports_usage,
            models=known,
            latency_s=latency_s,
            reply=reply,
            headers=own,
            holds_batches=holds_batches,
            batch_window_s=batch_window_s,
            batch_tokens=batch_tokens,
            synthesizer=find_synthesizer(voice),
        )
        own_routes = make_routes(routes or {}, checks_keys=keys is not None)
        service = Service(settings, self._script, self._control, own_routes)
        self._context = ServerContext(service, self._script, self._gate, latency_s)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: Thread | None = None
        self._stop: asyncio.Event | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Simulator {self.base_url}>" if self._port else "<Simulator, not started>"

    @property
    def base_url(self) -> str:
        """The `base_url` for clients of OpenAI: "http://127.0.0.1:PORT/v1"."""
        return f"{self.url}/v1"

    @property
    def url(self) -> str:
        """The root URL: `azure_endpoint` for Azure clients, `base_url` for ElevenLabs clients."""
        if self._port is None:
            raise ConfigError(
                "the simulator has no address before it is started", fix="with Simulator() as upstream: ..."
            )
        return f"http://{_HOST}:{self._port}"

    @property
    def requests(self) -> list[RecordedRequest]:
        """The latest recorded requests, oldest first. Requests to /_simulator/ are not recorded."""
        return self._script.list_requests()

    @property
    def counts(self) -> Counter[str]:
        """The number of events by name; a missing name counts 0.

        `requests` and `connections` count arrivals. `chat`, `streams`, `messages`, `message_counts`, `embeddings`, `models`,
        `reports`, `speech`, `voices`, `cloned`, `deleted`, `dictionaries`, `files` and `files_deleted` count complete successful answers.
        `batches` and `batches_cancelled` count batches; `batch_items` counts their answered and billed requests. `faults` counts injected
        faults. `gone` counts clients that disconnected before the end of their answer. `status_200`, `status_429`, ...
        count answers by status. The simulator updates a count before the client receives the end of the answer.
        """
        return self._script.copy_counts()

    @property
    def in_flight(self) -> int:
        """The number of requests that have arrived and are not answered yet."""
        return self._script.in_flight

    @property
    def max_in_flight(self) -> int:
        """The largest number of requests in flight at the same time."""
        return self._script.max_in_flight

    def replies(self, *replies: Scripted) -> None:
        """Queue answers to the next chat requests. Each request uses up one answer, in the order of arrival.

        A reply is a text, a message such as `{"tool_calls": [{"function": {"name": ..., "arguments": {...}}}]}`, or a
        body with `choices`; missing fields get defaults. A reply may also be a function that takes the request body and
        returns such a value.
        """
        self._script.queue(replies)

    def fail(
        self, fault: Fault, *, times: int | None = 1, path: str | None = None, model: str | None = None
    ) -> None:
        """Inject *fault* into the next matching requests. A request gets the first queued fault that matches.

        Args:
            fault: For example `Fault.status(429, retry_after=1)`.
            times: The number of requests to fail; None for all requests until `reset`.
            path: Match only requests whose path contains this text.
            model: Match only requests for this model.
        """
        self._script.queue_fault(PlannedFault(fault, parse_times(times), path, model))

    def hold(self) -> None:
        """Hold back the answers to all requests that arrive before the next `release`."""
        self._gate.hold()

    def release(self) -> None:
        """Answer the requests that `hold` held back."""
        self._gate.release()

    def finish_batches(self, share: float = 1.0) -> None:
        """Answer this *share* of the requests of each batch. A batch ends when all its requests are answered.

        The share also applies to batches that are created later; see *holds_batches*. With a share below 1, the other
        requests wait until the batch is cancelled or expires.
        """
        self._script.batch_share = share

    def bill(self, charges: Iterable[Charge]) -> None:
        """Add *charges* to the usage and cost reports: OpenAI's below /v1/organization/, Anthropic's below /v1/organizations/.

        The reports need an admin key, which begins with "sk-admin-" or "sk-ant-admin-". The simulator adds no charges itself.
        """
        self._script.charges.extend(charges)

    def reset(self) -> None:
        """Delete faults, replies, charges, requests and counts. Release held requests. Close the connections in use."""
        self._script.reset()
        self._gate.release()
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._end_busy)

    def wait_for_requests(self, count: int, timeout_s: float = 60.0) -> list[RecordedRequest]:
        """Wait until *count* requests have arrived since the start or the last `reset`. Return the recorded requests.

        Raises:
            TimeoutError: Fewer requests arrived in time.
        """
        if not self.wait_for(lambda: self._script.counts["requests"] >= count, timeout_s):
            arrived = self.counts["requests"]
            raise TimeoutError(f"waited {timeout_s} s for {count} requests; {arrived} arrived")
        return self.requests

    def wait_for(self, holds: Callable[[], bool], timeout_s: float = 60.0) -> bool:
        """Wait until *holds* returns true; return whether it did.

        *holds* is called again at each arrival and each end of a request.

        Example: `upstream.wait_for(lambda: upstream.in_flight == 0)`.
        """
        return self._script.wait_for(holds, timeout_s)

    def start(self) -> Self:
        """Start the server. A second call has no effect.

        Raises:
            OSError: Another process uses the port.
        """
        if self._thread is None:
            ready = Event()
            failed: list[BaseException] = []
            self._thread = Thread(
                target=self._run, args=(ready, failed), name="llmcore-simulator", daemon=True
            )
            self._thread.start()
            ready.wait()
            if failed:
                self._thread.join()
                self._thread = None
                raise failed[0]
            _own_ledger.join()
        return self

    def close(self) -> None:
        """Stop the server and close all connections, including hanging ones. A second call has no effect."""
        thread, self._thread = self._thread, None
        if thread is not None and self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            thread.join()
            _own_ledger.leave()

    def _run(self, ready: Event, failed: list[BaseException]) -> None:
        try:
            asyncio.run(self._serve(ready))
        except OSError as exc:
            failed.append(exc)
        finally:
            ready.set()

    async def _serve(self, ready: Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await self._loop.create_server(
            lambda: Connection(self._context), _HOST, self._wanted_port, backlog=_BACKLOG
        )
        self._port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._stop.wait()
        server.close()
        tasks = [connection.task for connection in self._context.alive if connection.task is not None]
        for connection in list(self._context.alive):
            connection.sender.transport.abort()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._loop = None

    def _end_busy(self) -> None:
        for connection in list(self._context.alive):
            if connection.task is not None:
                connection.sender.transport.abort()

    def _control(self, action: str) -> None:
        {
            "hold": self.hold,
            "release": self.release,
            "reset": self.reset,
            "finish_batches": self.finish_batches,
        }[action]()
