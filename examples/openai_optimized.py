"""OpenAI through OptimizedOpenAIProvider, in six scenarios.

Needs OPENAI_API_KEY; OPENAI_BASE_URL leads to another server.
"""

import asyncio  # noqa: TID253 - a program of its own
import tempfile

from llmcore_openai_optimized import OptimizedOpenAIProvider

MODEL = "gpt-5.6-luna"
folder = tempfile.TemporaryDirectory()
provider = OptimizedOpenAIProvider(
    model=MODEL, enable_cache=True, cache_ttl="1h", cache_backend="file", cache_dir=folder.name
)


def basic_use() -> None:
    """Ask one question."""
    print("basic use:", provider.generate_completion("Write a haiku about rain", max_tokens=100))


def counting() -> None:
    """Count tokens before a request is sent, without a network or a download."""
    text = provider.count_tokens("Hello world")
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is the capital of France?"},
    ]
    request = provider.count_messages_tokens(messages)
    print(
        f"counting: {text} tokens of text, {request} of a request ({'exact' if request.exact else 'about'})"
    )


def caching() -> None:
    """Ask the same question again. The answer comes from the cache and costs nothing."""
    before = provider.get_usage_stats()["request_count"]
    first = provider.generate_completion("Name three rivers.")
    again = provider.generate_completion("Name three rivers.")
    asked = provider.get_usage_stats()["request_count"] - before
    print("caching:", "the same answer," if first == again else "two answers,", asked, "request")


def cost_tracking() -> None:
    """Estimate a cost, compare the tiers, and print the spent amount."""
    print(f"cost tracking: 10,000 tokens in and 1,000 out cost ${provider.estimate_cost(10_000, 1_000):.6f}")
    tiers = provider.compare_pricing_tiers(10_000, 1_000)
    print(f"cost tracking: a batch saves {tiers['savings_percent']:.0f} %, ${tiers['savings']:.6f}")
    stats = provider.get_usage_stats()
    print(f"cost tracking: {stats['request_count']} requests, ${stats['total_cost']:.6f} so far")


def batch_of_prompts() -> None:
    """Ask several questions concurrently."""

    async def main() -> list[str]:
        prompts = [f"Translate to French: {word}" for word in ("rain", "sun", "snow")]
        return await asyncio.gather(*(provider.agenerate_completion(prompt) for prompt in prompts))

    print("batch of prompts:", len(asyncio.run(main())), "answers")


def chat() -> None:
    """Hold a conversation. Each turn is sent with all earlier turns."""
    messages = [{"role": "system", "content": "You are a patient teacher."}]
    for question in ("What is a prime?", "Is 91 one?"):
        messages.append({"role": "user", "content": question})
        answer = provider.generate_chat(messages, temperature=0.2)
        messages.append({"role": "assistant", "content": answer})
    print("chat:", len(messages), "messages, the last one:", messages[-1]["content"])


with provider:
    for scenario in (basic_use, counting, caching, cost_tracking, batch_of_prompts, chat):
        scenario()
folder.cleanup()
