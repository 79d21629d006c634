"""Embed the texts of items. Texts that a run requests at the same time share one request to the vendor."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

from llmcore.errors import BadRequest, LLMCoreError
from llmcore.support.money import from_nano, to_nano
from llmcore.types import Embeddings, Reply, Usage

if TYPE_CHECKING:
    import asyncio

__all__ = ["Embedder"]

_encode: Final = msgspec.json.Encoder(order="sorted").encode


class Embedder:
    """Sends bodies of OpenAI's embeddings API; each has one text.

    Args:
        embed: `LLMClient.aembed`.
        options: Arguments of *embed*.
    """

    def __init__(self, embed: Callable[..., Awaitable[Embeddings]], options: Mapping[str, Any]) -> None:
        self._embed = embed
        self._options = options
        self._waiting: dict[bytes, list[tuple[str, asyncio.Future[Reply]]]] = {}
        """The fields of a body except `input`, encoded -> the waiting texts with these fields, each with its future."""
        self._tasks: set[asyncio.Future[None]] = set()

    async def send(self, body: Mapping[str, Any]) -> Reply:
        """Return the vector for the text in *body*. `Reply.raw` is a list of embeddings in OpenAI's format.

        Raises:
            BadRequest: The text is empty, or an argument is not valid.
            ProviderError: As in `LLMClient.embed`.
        """
        import asyncio

        text = body["input"]
        if not isinstance(text, str):
            raise BadRequest(
                f"an item of embeddings must be one text, got {type(text).__name__}",
                code="LC303",
                where="input",
                expected="a text that is not empty",
            )
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Reply] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._start)
        key = _encode({name: value for name, value in body.items() if name != "input"})
        self._waiting.setdefault(key, []).append((text, future))
        return await future

    def _start(self) -> None:
        """Embed all waiting texts."""
        import asyncio

        waiting, self._waiting = self._waiting, {}
        for key, texts in waiting.items():
            task = asyncio.ensure_future(self._request(msgspec.json.decode(key), texts))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _request(
        self, fields: dict[str, Any], texts: Sequence[tuple[str, asyncio.Future[Reply]]]
    ) -> None:
        given = dict(fields)
        model, dimensions = given.pop("model", None), given.pop("dimensions", None)
        extra = {"extra_body": given} if given else {}
        options = {**self._options, **extra}
        if model is not None:
            options["model"] = model
        try:
            found = await self._embed([text for text, _ in texts], dimensions=dimensions, **options)
        except BadRequest as error:
            if len(texts) == 1:
                _fail(texts, error)
                return
            middle = len(texts) // 2  # halve the request, until only the rejected text fails
            await self._request(fields, texts[:middle])
            await self._request(fields, texts[middle:])
        except LLMCoreError as error:
            _fail(texts, error)
        except BaseException:
            for _, future in texts:
                future.cancel()
            raise
        else:
            for (_, future), reply in zip(texts, _divide(found), strict=True):
                if not future.done():
                    future.set_result(reply)


def _fail(texts: Sequence[tuple[str, asyncio.Future[Reply]]], error: LLMCoreError) -> None:
    for _, future in texts:
        if not future.done():
            future.set_exception(error)


def _divide(found: Embeddings) -> list[Reply]:
    """Return one reply per vector. Each text that was sent gets an equal part of the cost and tokens."""
    sent = [index for index, cached in enumerate(found.cached) if not cached]
    costs = dict.fromkeys(range(len(found.vectors)), Decimal(0))
    tokens = dict.fromkeys(range(len(found.vectors)), 0)
    for place, index in enumerate(sent):
        tokens[index] = _share(found.usage.input_tokens, len(sent), place)
        if found.cost is not None:
            costs[index] = from_nano(_share(to_nano(found.cost), len(sent), place))
    return [
        Reply(
            text="",
            model=found.model,
            provider=found.provider,
            usage=Usage(input_tokens=tokens[index], estimated=found.usage.estimated),
            cost=None if found.cost is None else costs[index],
            cost_source=found.cost_source,
            cached=index not in tokens or bool(found.cached[index]),
            latency_s=found.latency_s,
            request_id=found.request_id,
            body=_encode(
                {
                    "object": "list",
                    "data": [{"object": "embedding", "index": 0, "embedding": vector}],
                    "model": found.model,
                    "usage": {"prompt_tokens": tokens[index], "total_tokens": tokens[index]},
                }
            ),
        )
        for index, vector in enumerate(found.vectors)
    ]


def _share(total: int, parts: int, place: int) -> int:
    """Divide *total* into *parts* nearly equal whole numbers. Return the number with the index *place*."""
    return total // parts + (place < total % parts)
