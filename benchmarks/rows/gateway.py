"""A chat through a gateway: the CPU time of the gateway's process, against the LiteLLM proxy and Portkey's gateway.

All of them ask the same upstream. Ours checks an API key and counts the call in a budget and in the ledger.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.harness import Row, Side, Workshop
from benchmarks.peers import LITELLM, OFFLINE, PORTKEY
from benchmarks.upstream import serve

LOAD: Final = str(Path(__file__).parents[1] / "gateway_load.py")
QUESTION: Final = "Question {number}: " + "why does it rain so often in the north? " * 8
CHUNKS: Final = 400
HIT_US: Final = 75.0
CHUNK_US: Final = 25.0

OURS: Final = """
[llm]
provider = "openai"
model = "gpt-4o-mini"
[llm.openai]
base_url = "ADDRESS"
[cache]
provider = "file"
[ledger]
path = "./ledger.sqlite3"
"""
PROXY: Final = """
model_list:
  - model_name: gpt-4o-mini
    litellm_params: {model: openai/gpt-4o-mini, api_base: "ADDRESS", api_key: sk-test}
general_settings: {master_key: sk-master}
"""


class Gateways:
    """The commands of the gateways, for an upstream at *address*."""

    def __init__(self, shop: Workshop, address: str) -> None:
        self._shop = shop
        self._address = address

    def ours(self, name: str, job: dict[str, Any], **bounds: Any) -> Side:
        """Return the side of llmcore's gateway."""
        host = self._shop.host()
        host.install("uvloop")
        llmcore = str(host.bin / "llmcore")
        config = ["--config", "llmcore.toml"]
        return Side(
            name=name,
            environment=host,
            env={"OPENAI_API_KEY": "sk-test"},
            arguments=self._write(
                job,
                command=[llmcore, "serve", *config, "--port", "{port}"],
                files={"llmcore.toml": OURS.replace("ADDRESS", self._address)},
                ready="/health/ready",
                prepare=[llmcore, "keys", "create", "ann", "--budget", "1000 USD", *config],
                headers={"authorization": "Bearer {key}"},
                rows=[llmcore, "usage", "export", "--json", *config],
            ),
            **bounds,
        )

    def litellm(self, job: dict[str, Any]) -> Side:
        """Return the side of the LiteLLM proxy, with one worker, a master key and no database."""
        environment = self._shop.rival(*LITELLM)
        command = "litellm" if isinstance(environment, str) else str(environment.bin / "litellm")
        return Side(
            name="LiteLLM proxy",
            environment=environment,
            env=OFFLINE,
            peer=True,
            arguments=self._write(
                job,
                command=[command, "--config", "litellm.yaml", "--host", "127.0.0.1", "--port", "{port}"],
                files={"litellm.yaml": PROXY.replace("ADDRESS", self._address)},
                ready="/health/liveliness",
                headers={"authorization": "Bearer sk-master"},
            ),
        )

    def portkey(self, job: dict[str, Any]) -> Side:
        """Return the side of Portkey's gateway, which has neither keys nor a ledger."""
        folder = self._shop.npm(PORTKEY)
        program = "" if isinstance(folder, str) else str(folder / "@portkey-ai/gateway/build/start-server.js")
        return Side(
            name="Portkey gateway",
            environment=folder if isinstance(folder, str) else self._shop.host(),
            peer=True,
            arguments=self._write(
                job,
                command=["node", program, "--port={port}", "--headless"],
                ready="/",
                headers={
                    "authorization": "Bearer sk-test",
                    "x-portkey-provider": "openai",
                    "x-portkey-custom-host": self._address,
                },
            ),
        )

    @staticmethod
    def _write(job: dict[str, Any], **more: Any) -> tuple[str, str]:
        return LOAD, json.dumps({**job, **more})


def make_job(text: str, few: int, many: int, **more: Any) -> dict[str, Any]:
    """Return what the load generator sends, without the gateway."""
    body = {
        "model": "gpt-4o-mini",
        "max_tokens": 9000,
        "messages": [
            {"role": "system", "content": "Answer in one sentence."},
            {"role": "user", "content": text},
        ],
        **({"stream": True} if "chunks" in more else {}),
    }
    return {"body": body, "few": few, "many": many, **more}


@contextmanager
def prepare(shop: Workshop) -> Iterator[Sequence[Row]]:
    """Compare a miss, a hit and a chunk of a stream; count disconnects."""
    stream = f"Stream {CHUNKS} words, {{number}}"
    with serve() as address:
        gateways = Gateways(shop, address)
        miss, slow_miss = make_job(QUESTION, 300, 1500), make_job(QUESTION, 60, 300)
        chunk = make_job(stream, 2, 8, chunks=CHUNKS)
        yield [
            Row(
                title="a miss, against the LiteLLM proxy",
                sides=[gateways.litellm(slow_miss), gateways.ours("llmcore", miss, at_most=0.05)],
                unit="us of the gateway's CPU",
                rounds=3,
            ),
            Row(
                title="a miss, against Portkey's gateway",
                sides=[gateways.portkey(miss), gateways.ours("llmcore", miss, at_most=0.20)],
                unit="us of the gateway's CPU",
                rounds=5,
            ),
            Row(
                title="a cached reply",
                sides=[gateways.ours("llmcore", make_job(QUESTION, 300, 6000, same=True), limit=HIT_US)],
                unit="us of the gateway's CPU",
                rounds=5,
            ),
            Row(
                title="a chunk of a stream that arrives alone",
                sides=[
                    gateways.portkey(chunk),
                    gateways.litellm(chunk),
                    gateways.ours("llmcore", chunk, limit=CHUNK_US),
                ],
                unit="us of the gateway's CPU",
                rounds=3,
            ),
            Row(
                title="100 clients that leave, half before the first byte",
                sides=[
                    gateways.ours(
                        "not closed in 0.2 s, or not booked",
                        {**make_job("", 0, 100, chunks=1), "leaves": address},
                        limit=0,
                    )
                ],
                unit="clients",
                exact=True,
                rounds=1,
            ),
        ]
