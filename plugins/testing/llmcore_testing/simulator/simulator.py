"""`Simulator`: the simulated server. It runs in its own thread, and the test that started it scripts it."""

from __future__ import annotations

import asyncio  # noqa: TID253 - loaded only when a simulator is
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from threading import Event, Thread
from types import TracebackType
from typing import Final, Self

from llmcore.errors import ConfigError
from llmcore_testing.simulator.connection import Connection, Premises
from llmcore_testing.simulator.faults import Fault, parse_times
from llmcore_testing.simulator.gate import Gate
from llmcore_testing.simulator.own_ledger import OwnLedger
from llmcore_testing.simulator.own_routes import Handler, make_routes
from llmcore_testing.simulator.routing import Settings
from llmcore_testing.simulator.script import Planned, Script, Scripted
from llmcore_testing.simulator.service import Service
from llmcore_testing.simulator.synthesizers import find_synthesizer
from llmcore_testing.simulator.wire import RecordedRequest

__all__ = ["Simulator"]

_HOST: Final = "127.0.0.1"
_BACKLOG: Final = 1024
_own_ledger: Final = OwnLedger()


class Simulator:
    """A server on 127.0.0.1 that speaks the protocols of OpenAI, Anthropic and ElevenLabs, for tests, demonstrations and benchmarks.

    It answers from the moment of `start` (or `with`) until `close`, deterministically and without a key of your
    own. All methods may be called from any thread, while requests are being answered. A Core that is loaded meanwhile, here or
    in a child process, keeps a ledger of its own unless its configuration names one: simulated calls spend no budget.

    Args:
        port: 0 takes any that is free.
        api_keys: The only keys that are accepted; None accepts any that is not empty.
        reports_usage: Whether a stream ends with its usage although the request did not ask for it, as Mistral's do.
        needs_key: Whether a request without a key is refused. A local server, such as Ollama, takes it.
        models: The only models that exist; None knows every name.
        latency_s: Seconds that every answer takes.
        reply: Answers every request that has none of its own in `replies`.
        headers: Sent with every right answer, in the place of the usual ones of these names:
            `{"x-ratelimit-remaining-requests": "0"}`.
        voice: What speech sounds like: "tone" takes 0.02 seconds a character; the name of an installed voice that needs no
            key, "espeak", says the words.
        holds_batches: Whether batches wait for `finish_batches`; else they end when the client first asks for them.
        batch_window_s: Seconds after which a batch that has not ended expires.
        batch_tokens: How many tokens OpenAI's batches may have enqueued: a batch beyond that fails with the code
            "token_limit_exceeded". A token is four characters of a request.
        keep_requests: How many of the latest requests are recorded.
        routes: Endpoints of another protocol, which take precedence: `{"/api/chat": handler, "GET /api/tags": handler}`, with
            names such as "/models/{name}". A handler gets the `RecordedRequest` and returns the body: anything that JSON can hold,
            a text or bytes; an iterator, for a stream of lines of JSON or of bytes as they are; or `(status, body)`. Faults and
            counts are those of the other endpoints. Keys are only checked against `api_keys`. Faults of OpenAI's content
            (`usage`, `no_choices`, ...) do not apply.
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
        self._premises = Premises(service, self._script, self._gate, latency_s)
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
        """The root address: the `azure_endpoint` for clients of Azure, the `base_url` for those of ElevenLabs."""
        if self._port is None:
            raise ConfigError(
                "the simulator has no address before it is started", fix="with Simulator() as upstream: ..."
            )
        return f"http://{_HOST}:{self._port}"

    @property
    def requests(self) -> list[RecordedRequest]:
        """The latest requests, oldest first, without those to /_simulator/."""
        return self._script.requests()

    @property
    def counts(self) -> Counter[str]:
        """What happened so often; what never happened counts 0.

        requests, connections; chat, streams, messages, message_counts, embeddings, models, speech, voices, cloned, deleted, dictionaries,
        files, files_deleted: right answers that were sent to their end; batches, batches_cancelled; batch_items: requests of batches that
        were answered and are billed; faults that struck; gone: clients that left before their answer's end; status_200, status_429, ...: answers by status.
        A number is right before the client has the answer that it counts.
        """
        return self._script.snapshot()

    @property
    def in_flight(self) -> int:
        """Requests that have arrived and are not answered yet."""
        return self._script.in_flight

    @property
    def max_in_flight(self) -> int:
        """The largest number of requests in flight at the same time."""
        return self._script.max_in_flight

    def replies(self, *replies: Scripted) -> None:
        """Queue answers to the next chats: one each, in the order of arrival.

        Each is a text; a message such as `{"tool_calls": [{"function": {"name": ..., "arguments": {...}}}]}`; a whole
        body with `choices`, sent as it is but for what it leaves out; or a function that takes the request's body and
        returns one of these.
        """
        self._script.queue(replies)

    def fail(
        self, fault: Fault, *, times: int | None = 1, path: str | None = None, model: str | None = None
    ) -> None:
        """Inject *fault* into the next requests that match. A request gets the first queued fault that matches it.

        Args:
            fault: Such as `Fault.status(429, retry_after=1)`.
            times: None lets it strike until `reset`.
            path: Only requests whose path contains it.
            model: Only requests for this model.
        """
        self._script.plan(Planned(fault, parse_times(times), path, model))

    def hold(self) -> None:
        """Hold back every request that arrives from now on, until `release`."""
        self._gate.hold()

    def release(self) -> None:
        """Answer the requests that `hold` held back."""
        self._gate.release()

    def finish_batches(self, share: float = 1.0) -> None:
        """Answer this *share* of each batch, of later ones too. A batch ends when all of it is answered.

        See *holds_batches*. With a share below 1, the rest waits until the batch is cancelled or expires.
        """
        self._script.batch_share = share

    def reset(self) -> None:
        """Forget faults, replies, requests and counts, release held requests, and close the connections in use."""
        self._script.reset()
        self._gate.release()
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._end_busy)

    def wait_for_requests(self, count: int, timeout_s: float = 60.0) -> list[RecordedRequest]:
        """Wait until *count* requests have arrived since the start or `reset`; return those recorded.

        Raises:
            TimeoutError: Fewer came.
        """
        if not self.wait_for(lambda: self._script.counts["requests"] >= count, timeout_s):
            came = self.counts["requests"]
            raise TimeoutError(f"waited {timeout_s} s for {count} requests; {came} came")
        return self.requests

    def wait_for(self, holds: Callable[[], bool], timeout_s: float = 60.0) -> bool:
        """Wait until *holds* is true, asked again whenever a request comes or ends; return whether it is.

        Example: `upstream.wait_for(lambda: upstream.in_flight == 0)`.
        """
        return self._script.wait_for(holds, timeout_s)

    def start(self) -> Self:
        """Listen; return the simulator. A second call does nothing.

        Raises:
            OSError: The port is taken.
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
        """Stop listening and close every connection, including those that hang. A second call does nothing."""
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
            lambda: Connection(self._premises), _HOST, self._wanted_port, backlog=_BACKLOG
        )
        self._port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._stop.wait()
        server.close()
        tasks = [connection.task for connection in self._premises.alive if connection.task is not None]
        for connection in list(self._premises.alive):
            connection.line.transport.abort()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._loop = None

    def _end_busy(self) -> None:
        for connection in list(self._premises.alive):
            if connection.task is not None:
                connection.line.transport.abort()

    def _control(self, action: str) -> None:
        {
            "hold": self.hold,
            "release": self.release,
            "reset": self.reset,
            "finish_batches": self.finish_batches,
        }[action]()
