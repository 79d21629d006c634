"""The file that `llmcore config init` writes."""

from typing import Final

__all__ = ["EXAMPLE"]

EXAMPLE: Final = """\
# llmcore: which backend answers is one word in this file.
# `llmcore config check` finds its faults; `llmcore config explain KEY` tells where a value comes from.

[llm]
provider = "echo"                         # echo needs no key and costs nothing; openai, or any installed provider
# model = "gpt-5.6-luna"

# [llm.openai]
# api_key = "env:OPENAI_API_KEY"          # a reference (env:, file:, keyring:), never the key itself
# base_url = "https://api.openai.com/v1"  # or any server that speaks the same protocol

# [models]                                # names for code: chat(..., model="safe")
# fast = "openai:gpt-5.6-luna"
# safe = ["openai:gpt-6-sol", "anthropic:claude-sonnet-5"]     # tried in order

[cache]
provider = "file"                         # memory, file, redis, or any installed provider
ttl = "1h"                                # or "never"
# refresh = 0.8                           # after this part of the ttl a reply is asked for anew, in the background
# max_size = "1GB"
# eviction = "lru"                        # or "lfu": what goes when it is full
# memory = "64MB"                         # the tier in front of it; 0 turns it off

# [cache.redis]                           # may stay here while another provider is chosen
# url = "redis://localhost:6379/0"

# [storage]
# provider = "fs"
# [storage.fs]
# root = "./data"

# [voice]
# provider = "espeak"

# [budget]                                # a call that does not fit is not made
# limit = "5.00 USD"
# per = "day"                             # day, month (UTC) or total
# on_exceed = "refuse"                    # or "warn"
# unknown_price = "refuse"                # or "allow": what a call does whose price nobody knows
# alert_at = [0.5, 0.8, 1.0]
# alert_url = "env:ALERT_WEBHOOK"
# alert_command = ["notify-send", "llmcore"]

# [[budgets]]                             # more of them, each of one model, tag or user, or of another period
# limit = "1.00 USD"
# model = "openai:gpt-6-sol"              # "openai:" is all of its models

# [ledger]                                # what was used and spent
# path = "./ledger.sqlite3"               # from this file's folder; without it, in the user's state folder
# durability = "normal"                   # or "full": safe when the power goes, too, and slower

# [limits]                                # of every provider, each by itself
# requests_per_minute = 500
# tokens_per_minute = 200_000
# concurrency = 64                        # calls at once

# [limits."openai:gpt-6-sol"]             # of one model, or of one provider: [limits.openai]
# requests_per_minute = 50

# [prices."openai:my-deployment"]         # USD per million tokens; beats every table
# input = 0.25
# output = 2.00

[retry]
attempts = 4                              # in all, the first one counted
deadline = "10m"                          # over all attempts
idle = "60s"                              # longest silence inside one answer

# [profiles.prod.cache]                   # llmcore.load(profile="prod") or LLMCORE_PROFILE=prod
# provider = "redis"
"""
