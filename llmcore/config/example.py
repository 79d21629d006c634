"""The example that `llmcore config init` writes with `--example`, or if it finds neither an API key nor a model server."""

from typing import Final

__all__ = ["EXAMPLE"]

EXAMPLE: Final = """\
# llmcore: one word in this file selects each backend.
# `llmcore config check` reports errors; `llmcore config explain KEY` shows where a value comes from.

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
# refresh = 0.8                           # after this part of the ttl a hit is renewed in the background
# max_size = "1GB"
# eviction = "lru"                        # or "lfu": which entries are evicted when it is full
# memory = "64MB"                         # size of the memory tier; 0 turns it off
# on_outage = "memory"                    # during an outage the memory tier serves; or "miss"

# [cache.redis]                           # may stay here while another provider is selected
# url = "redis://localhost:6379/0"

# [storage]
# provider = "fs"
# [storage.fs]
# root = "./data"

# [voice]
# provider = "espeak"

# [budget]                                # calls that might exceed it are refused
# limit = "5.00 USD"
# per = "day"                             # day, month (UTC) or total
# on_exceed = "refuse"                    # or "warn"
# unknown_price = "refuse"                # or "allow": calls with an unknown price
# alert_at = [0.5, 0.8, 1.0]
# alert_faster_than = 3.0                 # a day that costs more than three average days
# alert_url = "env:ALERT_WEBHOOK"
# alert_slack_url = "env:SLACK_WEBHOOK"
# alert_email = ["ann@example.com"]       # through the server in [smtp]
# alert_command = ["notify-send", "llmcore"]

# [smtp]                                  # sends the e-mails of `alert_email`; `llmcore usage alert --test`
# host = "smtp.example.com"
# user = "ann@example.com"
# password = "env:SMTP_PASSWORD"

# [[budgets]]                             # more budgets: for a model, tag or user, or another period
# limit = "1.00 USD"
# model = "openai:gpt-6-sol"              # "openai:" for all models of a provider

# [ledger]                                # usage and cost of every request
# path = "./ledger.sqlite3"               # relative to this file; default: in the user's state folder
# durability = "normal"                   # or "full": survives a power cut, but is slower

# [batch]                                 # what sends the requests of batches
# engine = "local"                        # or an installed engine, with its options in [engines.NAME]

# [log]                                   # prompts and answers; `llmcore logs` searches them
# content = true                          # default: nothing is written
# keep = "30d"                            # default: until it is deleted
# redact = ['AB-[0-9]{4}']                # keys are always removed

# [chat]
# keep = false                            # conversations of `llmcore chat` are kept by default

# [limits]                                # for every provider separately
# requests_per_minute = 500
# tokens_per_minute = 200_000
# concurrency = 64                        # concurrent calls
# shared = "redis"                        # counted for all processes together, on the server of [cache.redis]

# [limits."openai:gpt-6-sol"]             # for one model, or for one provider: [limits.openai]
# requests_per_minute = 50

# [prices."openai:my-deployment"]         # USD per million tokens; overrides every price table
# input = 0.25
# output = 2.00

[retry]
attempts = 4                              # in total, including the first
deadline = "10m"                          # over all attempts
idle = "60s"                              # longest time without a received byte

# [profiles.prod.cache]                   # llmcore.load(profile="prod") or LLMCORE_PROFILE=prod
# provider = "redis"
"""
