"""A chat, the same chat from the cache, a stream and a token count. Runs with any configuration."""

import llmcore

messages = [{"role": "user", "content": "Write a haiku about rain"}]
tools = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]

with llmcore.load() as core:  # llmcore.toml above the working directory, then the environment
    reply = core.llm.chat("Write a haiku about rain")
    print(reply.text)
    print(
        reply.usage.input_tokens,
        reply.usage.output_tokens,
        reply.cost,
        reply.cached,
        reply.model,
        reply.provider,
    )

    print("again:", core.llm.chat("Write a haiku about rain").cached)

    for delta in core.llm.stream("Tell me a story"):
        print(delta.text, end="")
    print()

    count = core.llm.count_tokens(messages, tools=tools)
    print(count, "tokens,", "exact" if count.exact else "estimated")
    print(core.usage.totals().calls, "calls were asked")
