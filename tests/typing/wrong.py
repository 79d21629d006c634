"""Wrong programs: mypy and pyright reject every marked line. They are not run."""

from __future__ import annotations

import llmcore
from llmcore import Core, Provider
from llmcore.contracts import LLMProvider
from llmcore.hookspecs import Options


class MyOptions(Options):
    api_key: str = ""


def create(options: MyOptions) -> str:
    return options.api_key


no_provider: Provider[MyOptions, LLMProvider] = Provider(name="x", create=create, options=MyOptions)  # wrong


def ask(core: Core) -> None:
    core.llm.chat("Hello", temprature=0.2)  # wrong
    core.llm.chat("Hello", max_tokens="many")  # wrong
    core.llm.chat("Hello", cache="refrsh")  # wrong
    core.llm.chat([{"rol": "user"}])  # wrong
    core.llm.chat(messages=[{"role": "user", "contents": "Hello"}])  # wrong
    core.llm.stream("Hello", temprature=0.2)  # wrong
    variable = [{"role": "user", "content": "Hello"}]
    core.llm.chat(variable)  # wrong
    core.llm.send({"messages": []}, api="chta")  # wrong
    core.llm.send({"messages": []}, temperature=0.2)  # wrong
    core.llm.send_stream([])  # wrong
    core.voice.synthesize("Hello", formt="mp3")  # wrong
    core.voice.synthesize("Hello", speed="fast")  # wrong
    core.voice.stream("Hello", formt="mp3")  # wrong
    core.usage.by("dya")  # wrong
    core.usage.by("day", sinc="7d")  # wrong
    core.cache.cached(tll=60)  # wrong
    core.llm.chat("Hello", repair="once")  # wrong
    llmcore.load(profil="prod")  # wrong
    llmcore.image(5)  # wrong


async def aask(core: Core) -> None:
    await core.llm.achat("Hello", temprature=0.2)  # wrong
    core.llm.astream("Hello", max_tokens="many")  # wrong
    await core.voice.asynthesize("Hello", formt="mp3")  # wrong
    await core.usage.aby("dya")  # wrong
