"""The cases of `tests/gateway_clients.py`: one function for each case of a client, with the URL of the gateway as its argument."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

__all__ = ["CLIENTS", "PIXEL"]

Cases = Mapping[str, Callable[[str], None]]

KEY: Final = "llmcore-00000000-of-a-client"
MODEL: Final = "fast"
QUESTION: Final[Any] = [{"role": "user", "content": "Hello"}]
ANSWER: Final = "This is a simulated answer to: Hello"
PIXEL: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PICTURE: Final[Any] = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
        ],
    }
]
PARAMETERS: Final[Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL: Final[Any] = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}
CITY: Final[Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
    "additionalProperties": False,
}


def expect(kind: type[Exception], call: Callable[[], object]) -> Any:
    """Return the exception of the class *kind* that *call* raises."""
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__} was raised")


def make_openai() -> Cases:
    import openai
    import pydantic

    class City(pydantic.BaseModel):
        name: str

    def open_client(url: str) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0)

    def ask(url: str, **fields: Any) -> Any:
        with open_client(url) as client:
            return client.chat.completions.create(**{"model": MODEL, "messages": QUESTION, **fields})

    def stream(url: str) -> None:
        with open_client(url) as client:
            options: Any = {"include_usage": True}
            chunks = list(
                client.chat.completions.create(
                    model=MODEL, messages=QUESTION, stream=True, stream_options=options
                )
            )
        text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        assert text == ANSWER
        assert chunks[-1].usage is not None

    def ask_for_city(url: str) -> None:
        with open_client(url) as client:
            answer = client.chat.completions.parse(model=MODEL, messages=QUESTION, response_format=City)
        assert answer.choices[0].message.parsed == City(name="Oslo")

    def embed(url: str) -> None:
        with open_client(url) as client:
            answer = client.embeddings.create(model="embed", input=["One", "Two"])
        assert [len(each.embedding) for each in answer.data] == [1536, 1536]

    def list_models(url: str) -> None:
        with open_client(url) as client:
            assert MODEL in {model.id for model in client.models.list()}

    return {
        "chat": lambda url: _equal(ask(url).choices[0].message.content, ANSWER),
        "stream": stream,
        "tools": lambda url: _equal(
            ask(url, tools=[TOOL]).choices[0].message.tool_calls[0].function.name, "weather"
        ),
        "structured": ask_for_city,
        "images": lambda url: ask(url, messages=PICTURE),
        "embeddings": embed,
        "error": lambda url: expect(openai.BadRequestError, lambda: ask(url, messages=[])),
        "429": lambda url: _equal(
            expect(openai.RateLimitError, lambda: ask(url)).response.headers["retry-after"], "7"
        ),
        "models": list_models,
        "wrong key": lambda url: expect(openai.AuthenticationError, lambda: ask(url)),
    }


def make_async_openai() -> Cases:
    import openai

    async def ask(url: str, **fields: Any) -> Any:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
            return await client.chat.completions.create(**{"model": MODEL, "messages": QUESTION, **fields})

    async def chat(url: str) -> None:
        assert (await ask(url)).choices[0].message.content == ANSWER

    async def stream(url: str) -> None:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
            chunks = await client.chat.completions.create(model=MODEL, messages=QUESTION, stream=True)
            text = [choice.delta.content or "" async for chunk in chunks for choice in chunk.choices]
        assert "".join(text) == ANSWER

    async def call_tool(url: str) -> None:
        client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0)
        stream = client.chat.completions.stream(model=MODEL, messages=QUESTION, tools=[TOOL])
        async with client, stream as events:
            answer = await events.get_final_completion()
        calls = answer.choices[0].message.tool_calls
        assert calls is not None
        assert calls[0].function.name == "weather"

    def wait(work: Callable[[str], Coroutine[Any, Any, None]]) -> Callable[[str], None]:
        return lambda url: asyncio.run(work(url))

    return {
        "chat": wait(chat),
        "stream": wait(stream),
        "tools": wait(call_tool),
        "images": lambda url: asyncio.run(ask(url, messages=PICTURE)),
        "error": lambda url: expect(openai.BadRequestError, lambda: asyncio.run(ask(url, messages=[]))),
        "429": lambda url: expect(openai.RateLimitError, lambda: asyncio.run(ask(url))),
        "wrong key": lambda url: expect(openai.AuthenticationError, lambda: asyncio.run(ask(url))),
    }


def make_anthropic() -> Cases:
    import anthropic

    tool: Any = {"name": "weather", "input_schema": PARAMETERS}

    def open_client(url: str) -> anthropic.Anthropic:
        return anthropic.Anthropic(base_url=url, api_key=KEY, max_retries=0)

    def ask(url: str, **fields: Any) -> Any:
        with open_client(url) as client:
            return client.messages.create(
                **{"model": MODEL, "max_tokens": 50, "messages": QUESTION, **fields}
            )

    def stream(url: str) -> None:
        with open_client(url) as client:
            events = client.messages.stream(model=MODEL, max_tokens=50, messages=QUESTION)
            with events as opened:
                text = "".join(opened.text_stream)
                message = opened.get_final_message()
        assert text == ANSWER
        assert message.stop_reason == "end_turn"
        assert message.usage.output_tokens > 0

    def call_tool(url: str) -> None:
        (call,) = ask(url, tools=[tool]).content
        assert (call.type, call.name, call.input) == ("tool_use", "weather", {"city": "Oslo"})

    def show_picture(url: str) -> None:
        source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
        content = [{"type": "text", "text": "What is this?"}, {"type": "image", "source": source}]
        assert ask(url, messages=[{"role": "user", "content": content}]).content[0].text

    def count(url: str) -> None:
        with open_client(url) as client:
            assert client.messages.count_tokens(model=MODEL, messages=QUESTION).input_tokens > 0

    return {
        "chat": lambda url: _equal(ask(url).content[0].text, ANSWER),
        "stream": stream,
        "tools": call_tool,
        "images": show_picture,
        "count": count,
        "error": lambda url: expect(anthropic.NotFoundError, lambda: ask(url, model="none")),
        "429": lambda url: _equal(
            expect(anthropic.RateLimitError, lambda: ask(url)).response.headers["retry-after"], "7"
        ),
        "wrong key": lambda url: expect(anthropic.AuthenticationError, lambda: ask(url)),
    }


def make_langchain() -> Cases:
    import openai
    import pydantic
    from langchain_core.messages import HumanMessage
    from langchain_openai import ChatOpenAI, OpenAIEmbeddings

    class City(pydantic.BaseModel):
        """A city."""

        name: str

    def make(url: str) -> ChatOpenAI:
        return ChatOpenAI(base_url=f"{url}/v1", api_key=pydantic.SecretStr(KEY), model=MODEL, max_retries=0)

    def embed(url: str) -> None:
        client = OpenAIEmbeddings(
            base_url=f"{url}/v1",
            api_key=pydantic.SecretStr(KEY),
            model="embed",
            max_retries=0,
            check_embedding_ctx_length=False,
        )
        assert [len(vector) for vector in client.embed_documents(["One", "Two"])] == [1536, 1536]

    def structured(url: str) -> None:
        assert make(url).with_structured_output(City).invoke("Hello") == City(name="Oslo")

    def call_tool(url: str) -> None:
        answer: Any = make(url).bind_tools([TOOL]).invoke("Hello")
        assert answer.tool_calls[0]["args"] == {"city": "Oslo"}

    return {
        "chat": lambda url: _equal(make(url).invoke("Hello").content, ANSWER),
        "stream": lambda url: _equal(
            "".join(str(chunk.content) for chunk in make(url).stream("Hello")), ANSWER
        ),
        "tools": call_tool,
        "structured": structured,
        "images": lambda url: make(url).invoke([HumanMessage(PICTURE[0]["content"])]),
        "embeddings": embed,
        "error": lambda url: expect(openai.BadRequestError, lambda: make(url).invoke([])),
        "429": lambda url: expect(openai.RateLimitError, lambda: make(url).invoke("Hello")),
        "wrong key": lambda url: expect(openai.AuthenticationError, lambda: make(url).invoke("Hello")),
    }


def make_litellm() -> Cases:
    import litellm

    def ask(url: str, **fields: Any) -> Any:
        options = {"api_base": f"{url}/v1", "api_key": KEY, "num_retries": 0, "max_retries": 0}
        return litellm.completion(**{"model": f"openai/{MODEL}", "messages": QUESTION, **options, **fields})

    def embed(url: str) -> None:
        answer = litellm.embedding(
            model="openai/embed", input=["One", "Two"], api_base=f"{url}/v1", api_key=KEY
        )
        assert len(answer.data) == 2

    def structured(url: str) -> None:
        schema = {"name": "city", "schema": CITY, "strict": True}
        answer = ask(url, response_format={"type": "json_schema", "json_schema": schema})
        assert answer.choices[0].message.content == '{"name": "Oslo"}'

    return {
        "chat": lambda url: _equal(ask(url).choices[0].message.content, ANSWER),
        "stream": lambda url: _equal(
            "".join(chunk.choices[0].delta.content or "" for chunk in ask(url, stream=True)), ANSWER
        ),
        "tools": lambda url: _equal(
            ask(url, tools=[TOOL]).choices[0].message.tool_calls[0].function.name, "weather"
        ),
        "structured": structured,
        "images": lambda url: ask(url, messages=PICTURE),
        "embeddings": embed,
        "error": lambda url: expect(litellm.exceptions.NotFoundError, lambda: ask(url, model="openai/none")),
        "429": lambda url: expect(litellm.exceptions.RateLimitError, lambda: ask(url)),
        "wrong key": lambda url: expect(litellm.exceptions.AuthenticationError, lambda: ask(url)),
    }


def make_llm() -> Cases:
    import llm
    import openai
    from llm.default_plugins.openai_models import Chat

    def make(url: str) -> Any:
        make_chat: Any = Chat
        model = make_chat(MODEL, model_name=MODEL, api_base=f"{url}/v1", vision=True, supports_schema=True)
        model.key = KEY
        return model

    def ask(url: str, **fields: Any) -> str:
        return str(make(url).prompt("Hello", **fields).text())

    return {
        "chat": lambda url: _equal(ask(url, stream=False), ANSWER),
        "stream": lambda url: _equal("".join(make(url).prompt("Hello", stream=True)), ANSWER),
        "structured": lambda url: _equal(ask(url, stream=False, schema=CITY), '{"name": "Oslo"}'),
        "images": lambda url: ask(
            url, attachments=[llm.Attachment(type="image/png", content=_decode(PIXEL))]
        ),
        "429": lambda url: expect(openai.RateLimitError, lambda: ask(url, stream=False)),
        "wrong key": lambda url: expect(openai.AuthenticationError, lambda: ask(url, stream=False)),
    }


def make_pydantic_ai() -> Cases:
    import pydantic
    from pydantic_ai import Agent, BinaryContent
    from pydantic_ai.exceptions import ModelHTTPError
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.providers.anthropic import AnthropicProvider
    from pydantic_ai.providers.openai import OpenAIProvider

    class City(pydantic.BaseModel):
        name: str

    def make(url: str, kind: Any = OpenAIChatModel, **options: Any) -> Any:
        return Agent(kind(MODEL, provider=OpenAIProvider(base_url=f"{url}/v1", api_key=KEY)), **options)

    async def stream(url: str) -> None:
        async with make(url).run_stream("Hello") as answer:
            pieces = [text async for text in answer.stream_text(delta=True)]
        assert "".join(pieces) == ANSWER

    def call_tool(url: str) -> None:
        asked: list[str] = []

        def weather(city: str) -> str:
            asked.append(city)
            return "rain"

        make(url, tools=[weather]).run_sync("Hello")
        assert asked == ["Oslo"]

    def ask_messages(url: str) -> None:
        model = AnthropicModel(MODEL, provider=AnthropicProvider(base_url=url, api_key=KEY))
        assert Agent(model).run_sync("Hello").output == ANSWER

    return {
        "chat": lambda url: _equal(make(url).run_sync("Hello").output, ANSWER),
        "stream": lambda url: asyncio.run(stream(url)),
        "tools": call_tool,
        "responses": lambda url: _equal(make(url, OpenAIResponsesModel).run_sync("Hello").output, ANSWER),
        "messages": ask_messages,
        "images": lambda url: make(url).run_sync(
            ["What is this?", BinaryContent(_decode(PIXEL), media_type="image/png")]
        ),
        "wrong key": lambda url: expect(ModelHTTPError, lambda: make(url).run_sync("Hello")),
    }


def _equal(got: object, wanted: object) -> None:
    assert got == wanted, f"{got!r} is not {wanted!r}"


def _decode(text: str) -> bytes:
    import base64

    return base64.b64decode(text)


CLIENTS: Final[Mapping[str, Callable[[], Any]]] = {
    "openai": make_openai,
    "openai-async": make_async_openai,
    "anthropic": make_anthropic,
    "langchain-openai": make_langchain,
    "litellm": make_litellm,
    "llm": make_llm,
    "pydantic-ai": make_pydantic_ai,
}
