"""All error codes, each with meaning, cause and remedy.

`llmcore explain CODE` prints an entry, and `docs/errors.md` is the whole table.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["CODES", "GROUPS", "Explanation", "render_page"]


class Explanation(NamedTuple):
    """The explanation of one code."""

    summary: str
    cause: str
    remedy: str
    """What to do. Text in backquotes can be pasted after the names in capitals are replaced."""


GROUPS: Final = {
    "LC0": "The command line and the process",
    "LC1": "The configuration and the plugins that it names",
    "LC2": "Keys and addresses",
    "LC3": "Requests",
    "LC4": "Servers",
    "LC5": "Plugins",
    "LC6": "Budgets and the ledger",
    "LC7": "The cache",
    "LC8": "Storages",
    "LC9": "Voices",
}
"""The first three characters of a code -> the title of its group."""

_E = Explanation

CODES: Final[dict[str, Explanation]] = {
    "LC000": _E("an error without a specific code", "A part of llmcore or a plugin raised the base class.",
                "Read the message; `LLMCORE_TRACEBACK=1` shows where it was raised."),
    "LC001": _E("the command line is invalid", "An option, an argument or a value is invalid. Nothing was done.",
                "`llmcore COMMAND --help` lists the arguments of a command."),
    "LC002": _E("unknown command", "Neither llmcore nor an installed plugin has the command.",
                "`llmcore --help` lists the commands; `llmcore plugins` lists the commands of plugins."),
    "LC003": _E("no asyncio event loop is running", "An asynchronous method was awaited under trio, or outside of a loop.",
                "Use `asyncio.run(main())`, or the blocking method of the same name without the `a`."),
    "LC004": _E("the object belongs to this process", "A Core or a client was pickled or copied, but it has connections and locks.",
                "Call `llmcore.load()` in the other process."),
    "LC005": _E("the operating system refused", "A file or a system call failed: no permission, no space, no file descriptors.",
                "Fix what the message names: permissions, disk space or limits."),
    "LC100": _E("a value in the configuration is invalid", "A setting has the right type, but an invalid value.",
                "`llmcore config check` reports every fault with its line."),
    "LC102": _E("unknown key, section or variable", "The configuration or the environment names a setting that does not exist.",
                "Use the name that the error suggests; `llmcore config show` lists the settings."),
    "LC103": _E("unknown provider", "The provider is misspelt, its plugin is not installed, or LLMCORE_PLUGINS excludes it.",
                "`llmcore plugins` lists what is installed."),
    "LC104": _E("a value has the wrong type or form", "A setting or an option must be a number, text, a list or a duration, but is something else.",
                "Set a value that the error expects: `llmcore config set KEY VALUE`."),
    "LC105": _E("an alias refers to itself", "A name of [models] refers to itself, directly or through others.",
                "End each chain of [models] with `provider:model`."),
    "LC106": _E("a plugin implements a hook that does not exist", "The plugin was written for another version, or a hook is misspelt.",
                "`llmcore plugins check NAME` names the hook."),
    "LC107": _E("the configuration file cannot be read", "The file does not exist, is not a file, cannot be read, or is not TOML in UTF-8.",
                "Pass the right file with `--config FILE`, or create one: `llmcore config init`."),
    "LC108": _E("unknown profile", "LLMCORE_PROFILE, `--profile` or `profile=` names a profile that [profiles] does not have.",
                "Use a name that the error lists."),
    "LC109": _E("a file contains a secret", "The configuration contains a key in plain text.",
                "Put the key into the environment and refer to it: `llmcore config set llm.openai.api_key env:OPENAI_API_KEY`."),
    "LC110": _E("several plugins claim one provider", "Two installed distributions offer the same name.",
                'Select one distribution: `provider = "DISTRIBUTION:NAME"`.'),
    "LC112": _E("a setting is missing", "A provider, a budget or a price needs a setting that the configuration does not have.",
                "`llmcore config set KEY VALUE` with the key that the error names."),
    "LC113": _E("two budgets apply to the same calls", "Two budgets have the same period, model, tag, user and unit.",
                "Remove one of the two budgets, or change its period, model, tag, user or unit."),
    "LC201": _E("a key is missing", "The variable, file or keyring entry of a key is not set.",
                "Set the variable: `export OPENAI_API_KEY=sk-...`; `llmcore config set llm.provider echo` needs no key."),
    "LC202": _E("the server refuses the key", "The key is wrong, expired, or has no access to this model.",
                "Set another key at the place that the error names; `llmcore doctor` tries the key."),
    "LC203": _E("an address is invalid", "An address or a proxy lacks its scheme or host, or contains a password.",
                "Write http:// or https://, the host, and the path: `llmcore config set llm.openai.base_url https://HOST/v1`."),
    "LC204": _E("a key or a header cannot be sent", "The value has characters that HTTP does not allow, such as a line end or a typographic dash.",
                "Copy the key again."),
    "LC300": _E("the server rejects the request", "A parameter, the length of the conversation or its content is invalid for the model.",
                "Change what the server names; shorten a conversation that is too long: `chat(messages=messages[:1] + messages[1:][-4:])`."),
    "LC301": _E("the model or the address does not exist", "The server does not have the model, or `base_url` lacks a part of its path.",
                "`llmcore models` lists the models of the server."),
    "LC302": _E("unknown parameter", "The provider does not declare the parameter; nothing was sent.",
                'Use the name that the error suggests, or send it unchanged: `chat(..., extra_body={"NAME": VALUE})`.'),
    "LC303": _E("the prompt is empty or not text", "The prompt must be text.", "Pass text with at least one character."),
    "LC304": _E("a message has the wrong form", "A message needs a role, and content that is text or a list of parts.",
                'Write `{"role": "user", "content": "Hello"}`.'),
    "LC305": _E("the content policy blocks the request", "The server refuses the prompt or the answer.",
                "Rephrase the prompt, or use another model."),
    "LC306": _E("a value is not JSON", "A parameter or a message contains a value that JSON cannot represent, such as a date or NaN.",
                "Convert the value to text or a number first."),
    "LC307": _E("the answer format has no JSON schema", "`response_format=` is not a schema, or its type has no schema.",
                "Use a dataclass, a TypedDict, or a msgspec or pydantic model."),
    "LC308": _E("an argument is invalid", "An argument of a call has the wrong type or range.",
                "Pass a value that the error expects."),
    "LC309": _E("tokens cannot be counted", "The argument of `count_tokens` must be text, messages or a request body.",
                "Pass text or a list of messages."),
    "LC310": _E("unknown argument", "A keyword argument is misspelt, or the function does not have it. Nothing was done.",
                "Use the name that the error suggests."),
    "LC311": _E("an image, audio or a file cannot be attached", "The content cannot be read, is empty or too large, or has another type.",
                'Pass what the error expects: `llmcore.image("cat.png")`, `llmcore.audio`, `llmcore.file`.'),
    "LC320": _E("a run of a batch is in use", "Another process works on the same run, or writes to the same output.",
                "Wait for the other process, or end it; `llmcore batch list` shows the runs."),
    "LC321": _E("a run of a batch cannot be resumed", "There is no such run, the run had not read its input to the end, or it was begun on an engine and is resumed without one.",
                "`llmcore batch list` shows the runs; pass the same items to `resume_batch`, and name an engine again."),
    "LC322": _E("too many items of a batch failed", "More items failed than `--max-failures` allows.",
                "Read the errors of the items, and resume the run with the same command."),
    "LC323": _E("there is no folder for a run of a batch", "The user has no home directory.",
                "Set XDG_STATE_HOME to a folder that you can write."),
    "LC324": _E("a run of a batch or its output cannot be written", "The disk is full, or the folder does not exist or is not yours.",
                "Make space, and resume the run with the same command: the answers are kept."),
    "LC325": _E("the input of a batch changed during the run", "Another program wrote to the file.",
                "Run the same command again: only lines that changed are sent."),
    "LC330": _E("the engine of a batch failed", "The cluster cannot be reached, its workers end again and again, or a worker lacks a package.",
                "Read the note of the error, and resume the run with the same command: the answers are kept."),
    "LC331": _E("the workers of an engine do not share the ledger", "The ledger decides which worker sends a request, so all workers need the same ledger.",
                "On several machines: `llmcore config set ledger.provider postgres`."),
    "LC400": _E("the provider failed", "The backend raised an error that has no specific code.",
                "`llmcore plugins check NAME` tests the provider."),
    "LC401": _E("the server cannot be reached or failed", "Nothing listens at the address, the network is down, or the server answered with a status of 500 or more.",
                "`llmcore doctor` contacts the server; with more attempts, a call survives a short failure: `llmcore config set retry.attempts 8`."),
    "LC402": _E("too many requests", "The server limits requests or tokens per minute.",
                "Send fewer requests: `llmcore config set limits.openai.requests_per_minute 20`."),
    "LC403": _E("the account has no quota left", "The account has no credit, or has used its monthly quota. Waiting does not help.",
                "Add credit at the vendor, or set the key of another account."),
    "LC404": _E("the deadline has passed", "No answer arrived before the deadline, or the server sent nothing for longer than `idle`.",
                "Allow more time: `llmcore config set retry.deadline 20m`, or `timeout=` in the call."),
    "LC405": _E("the answer is incomplete", "The connection or the stream ended early. `partial` has the received part.",
                "Use `core.llm.chat(...)`, which is retried; a stream that has begun is not."),
    "LC406": _E("the answer is malformed", "The status is a success, but the body is not JSON, or has no choices.",
                "Check `base_url`: `llmcore doctor`."),
    "LC407": _E("the answer does not match the type", "`response_format=` was passed, but the text is not an instance of it.",
                "Allow a longer answer with `max_tokens=`, or use a model with structured output."),
    "LC500": _E("the provider lacks an ability", "The call needs an optional ability that the provider does not have.",
                "`llmcore plugins info NAME` lists its abilities."),
    "LC501": _E("a plugin is broken", "The plugin could not be imported or created.",
                "`llmcore doctor` tries each plugin and shows the fault."),
    "LC502": _E("a plugin was built for another host", "The version of the hooks differs.",
                "Install matching versions of llmcore-host and of the plugin."),
    "LC600": _E("a budget refuses the call", "See the message.", "`llmcore usage budget` shows what is left."),
    "LC601": _E("the budget has too little left", "The maximum cost of the call is more than what is left. Nothing was sent.",
                "Limit the answer with `max_tokens=`, or wait for the next period: `llmcore usage budget` shows when it begins."),
    "LC602": _E("the price of the model is unknown", "A budget applies, but neither the provider nor [prices] has a price for the model.",
                "`llmcore config set 'prices.\"PROVIDER:MODEL\"' '{ input = 0.25, output = 2.00 }'`; for a server of your own, `llmcore config set prices.PROVIDER 0`."),
    "LC603": _E("the ledger cannot be written", "A budget applies, but the ledger, which counts the spending, cannot be written.",
                "`llmcore config set ledger.path ./ledger.sqlite3`."),
    "LC604": _E("the cost of the call has no upper bound", "A budget applies, but neither `max_tokens=` nor the context window limits the answer.",
                "Limit the answer: `chat(..., max_tokens=1000)`, or `llmcore config set llm.openai.extra_body.max_tokens 1000` for every call. A model without a price needs a price first; see LC602."),
    "LC610": _E("an operation on the ledger failed", "The ledger cannot be read or written, a group, period or time zone is unknown, or a key's name is taken or unknown.",
                "See the message; `llmcore doctor` checks the ledger."),
    "LC611": _E("the ledger cannot be used", "The file or the server of the ledger cannot be reached, or is locked.",
                "`llmcore doctor` checks the ledger."),
    "LC612": _E("a part of the bill is unexplained", "`llmcore usage reconcile` found amounts that are booked but not billed, or billed without usage.",
                "`llmcore usage reconcile --by day` shows the days; `--tolerance` sets the amount that is accepted."),
    "LC700": _E("a cache operation failed", "The backend of the cache refused or failed. No call fails because of it.",
                "`llmcore cache stats` shows its state."),
    "LC701": _E("a value cannot be cached", "The cache cannot encode the type of the value.",
                "Cache a dataclass, or plain values: text, numbers, lists, dicts."),
    "LC702": _E("an invalid TTL", "`ttl=` must be a positive duration, `refresh=` a duration or a fraction of the TTL.", 'Pass seconds or "1h".'),
    "LC703": _E("an invalid key or tag", "A key, a tag or a namespace is empty or not text.", "Pass text that is not empty."),
    "LC704": _E("the arguments have no cache key", "A cached function got an argument without a stable representation.",
                "Make the key from the relevant parts: `cached(key=...)`."),
    "LC705": _E("`cached()` decorates functions only", "The decorated object is a class or another object.", "Decorate a function or a method."),
    "LC710": _E("the cache cannot be reached", "The server of the cache is down, or does not answer in time.",
                "`llmcore doctor` contacts the server."),
    "LC800": _E("the storage failed", "The backend refused or failed. No partial write remains.", "`llmcore doctor` tries to write a file."),
    "LC801": _E("a storage key is invalid", "The key is empty, absolute, leaves the storage, or has characters that a system forbids.",
                "Use a relative path with `/` between its parts."),
    "LC802": _E("the storage key does not exist", "No file has this key.", "`llmcore store ls` lists the keys."),
    "LC803": _E("the storage key exists already", "`save_if_absent` found a file under the key.", "Use another key, or replace the file with `save`."),
    "LC804": _E("the storage is read-only", "The folder or the bucket cannot be written.", "Set another folder: `llmcore config set storage.fs.root ./data`."),
    "LC805": _E("the storage is full", "There is no space left.", "Delete files, or use another folder or bucket."),
    "LC806": _E("the stored file has changed", "A conditional write found another version.", "Load the file again, and repeat the change."),
    "LC807": _E("the storage cannot be reached", "The server of the storage is down, or does not answer in time.", "`llmcore doctor` contacts the server."),
    "LC808": _E("the storage refuses the credentials", "The credentials are missing or wrong, or lack a permission.", "Set the credentials that the vendor's tools read."),
    "LC900": _E("the voice failed", "The backend refused or failed.", "`llmcore plugins check NAME` tests the provider."),
    "LC901": _E("unknown voice", "The provider does not have the voice.", "`llmcore voices` lists the voices that it has."),
    "LC902": _E("the text is too long", "The text is longer than one request of the provider allows, and cannot be divided.", "Divide the text."),
    "LC903": _E("the answer is not audio", "The received data cannot be played.", "Check the format and the address of the provider."),
    "LC904": _E("the text is empty", "The text is empty, or has no letter.", "Pass text with at least one letter."),
    "LC905": _E("the text cannot be spoken", "The text is invalid SSML, or contains a lone surrogate.", "Fix the part that the error shows."),
    "LC906": _E("the recordings for a voice are invalid", "Consent, name or audio is missing or of the wrong type.", "Pass what the error expects."),
}  # fmt: skip
"""Code -> explanation, sorted by code."""


def render_page() -> str:
    """Return `docs/errors.md`: every code in a table, by group."""
    parts = [
        (
            "# Errors\n\n"
            "Every error has a code. `llmcore explain CODE` prints the same as this page, which is generated by "
            "`llmcore explain --markdown`.\n"
            "Text in backquotes can be pasted after the names in capitals are replaced.\n"
        )
    ]
    for start, title in GROUPS.items():
        rows = [
            f"| `{code}` | {each.summary} | {each.cause} | {each.remedy} |"
            for code, each in CODES.items()
            if code.startswith(start)
        ]
        head = f"## {title}\n\n| code | error | cause | what to do |\n|---|---|---|---|\n"
        parts.append(head + "\n".join(rows) + "\n")
    return "\n".join(parts)
