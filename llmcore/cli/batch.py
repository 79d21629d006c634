"""`llmcore batch`: run a file of prompts, resume a run, and show runs."""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
from collections.abc import Callable
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Final

from llmcore.cli.batch_columns import check_columns
from llmcore.cli.batch_engine import ENGINE, check_engine, make_engine_settings
from llmcore.cli.batch_estimate import Forecast, show_estimate
from llmcore.cli.batch_feed import Feed
from llmcore.cli.batch_files import count_rows, find_format
from llmcore.cli.batch_output import Errors, OutputWriter, check_paths, lock_output, make_error_line
from llmcore.cli.batch_progress import Progress
from llmcore.cli.batch_runs import begin_again, cancel_run, read_facts, show_runs, show_status
from llmcore.cli.batch_say import check_options, find_index, make_measure, make_sender, save_audio
from llmcore.cli.command_errors import UsageError
from llmcore.cli.command_helpers import open_core, parse_values
from llmcore.cli.parser import make_action_adder
from llmcore.cli.show import format_cost, note, print_json
from llmcore.errors import LLMCoreError
from llmcore.llm.batch.items import add_model
from llmcore.llm.batch.run import BatchRun, find_run, find_runs_folder
from llmcore.llm.batch.run_plan import RunPlan
from llmcore.llm.batch.store import RunStore

__all__ = ["configure"]

_OPTIONS: Final = ("input", "output", "prompt", "column", "system", "model", "schema", "parameter")
"""The options whose values identify a run."""
_KINDS: Final = ("api", "say", "voice")
"""Further options, which identify a run only if they differ from their defaults."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `batch`."""
    add = make_action_adder(parser)
    run = add("run", "send the prompts of a file; the same command resumes an unfinished run", _run)
    run.epilog = (
        'A line is a text, {"prompt": ...}, {"messages": [...]} or a line of OpenAI\'s batch files. The output has the same\n'
        "lines with `answer`, `error` and `cost`; lines that failed are also in OUTPUT.errors.jsonl.\n\n"
        "examples:\n  llmcore batch run prompts.jsonl -o answers.jsonl\n"
        '  llmcore batch run people.csv -o out.csv --prompt "Classify: {text}" -m fast --budget "5 USD"'
    )
    run.add_argument(
        "input",
        metavar="INPUT",
        help="a .jsonl, .csv, .tsv, .parquet or .txt file, or - for JSON lines on stdin",
    )
    run.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUTPUT",
        help="the file of the answers, or - for stdout; with --say a folder",
    )
    run.add_argument(
        "--prompt", metavar="TEXT", help='the prompt, with fields of the line in braces: "Classify: {text}"'
    )
    run.add_argument("--column", metavar="NAME", help="the field of the line that contains the prompt")
    run.add_argument("-s", "--system", metavar="TEXT", help="instructions for every line")
    run.add_argument("-m", "--model", help="a model, provider:model, or a name of [models]")
    run.add_argument(
        "--schema", metavar="SCHEMA", help="JSON schema of the answers: a file, JSON, or 'name, age int'"
    )
    run.add_argument(
        "-p",
        "--parameter",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of the model",
    )
    run.add_argument(
        "--lane",
        choices=("now", "queue", "auto"),
        help="now (default), queue (the vendor's batches: half the price, within a day), or auto (the queue, then now for what remains)",
    )
    run.add_argument(
        "--engine",
        metavar="NAME",
        help="the engine whose workers send the requests: local (default), or an engine of a plugin, such as dask or ray",
    )
    run.add_argument(
        "--engine-address", metavar="ADDRESS", help="the scheduler of the engine, such as tcp://10.0.0.5:8786"
    )
    run.add_argument(
        "--api", choices=("chat", "embeddings"), default="chat", help="embeddings: the answers are vectors"
    )
    run.add_argument(
        "--say", action="store_true", help="speak the lines: OUTPUT is a folder of audio files with an index"
    )
    run.add_argument("--voice", metavar="ID", help="with --say: a voice that `llmcore voices` lists")
    run.add_argument("--budget", metavar="AMOUNT", help='the most that the run may cost, such as "5 USD"')
    run.add_argument(
        "--concurrency", type=int, metavar="N", help="requests in flight; default: adapted to the server"
    )
    run.add_argument(
        "--max-failures",
        metavar="N|N%%",
        help="stop when more lines than this have failed: 100, or 1%% of the finished lines",
    )
    run.add_argument(
        "--dry-run", action="store_true", help="show items, tokens, cost and time; nothing is sent"
    )
    run.add_argument("--limit", type=int, metavar="N", help="only the first N lines")
    run.add_argument("--force", action="store_true", help="overwrite the output and begin again")
    add("list", "list the runs", show_runs)
    status = add("status", "show how far a run is", show_status)
    status.add_argument("id", nargs="?", metavar="RUN", help="default: the newest")
    resume = add("resume", "continue a run", _resume)
    resume.add_argument("id", metavar="RUN")
    cancel = add(
        "cancel",
        "cancel the vendor's batches of a run, and delete the run; the answers stay in the output",
        cancel_run,
    )
    cancel.add_argument("id", metavar="RUN")
    parser.set_defaults(run=show_runs)


def _run(args: argparse.Namespace) -> int:
    """Check the arguments, then run a file."""
    find_format(args.input)
    if args.api == "embeddings" and args.lane not in {None, "now"}:
        raise UsageError(f"embeddings have no lane {args.lane}", where="--lane", expected="--lane now")
    if args.api == "embeddings" and args.schema is not None:
        raise UsageError("embeddings have no schema", where="--schema", expected="--api chat, or no --schema")
    if args.say:
        check_options(args)
    else:
        find_format(args.output)
    check_engine(args)
    if args.limit is not None and args.limit < 1:
        raise UsageError(
            f"--limit must be at least 1, got {args.limit}", where="--limit", expected="a number of lines"
        )
    check_columns(args, lambda **changes: _render_command(argparse.Namespace(**{**vars(args), **changes})))
    path = _find_path(args)
    if not (args.dry_run and args.say):  # `find_index` makes a folder, which a dry run must not do
        check_paths(args.input, find_index(args) if args.say else args.output)
    if args.dry_run:
        return _run_batch(args, path)
    with lock_output(args.output):
        _check_output(args, path)
        return _run_batch(args, path)


def _run_batch(args: argparse.Namespace, path: Path) -> int:
    parameters, answer_type = parse_values(args.parameter, "-p"), None
    if args.schema:
        from llmcore.cli.batch_schema import read_format

        parameters["response_format"], answer_type = read_format(args.schema)
    feed = Feed(args, add_model(parameters, args.model))
    with (
        open_core(args, make_engine_settings(args, _render_command)) as core,
        closing(Progress(_count_items(args), shows=not args.dry_run)) as progress,
    ):
        plan = RunPlan(
            path=path,
            read=feed.read,
            lane=args.lane,
            engine=args.engine,
            report=progress.note,
            send_other=make_sender(core) if args.say else None,
            measure_other=make_measure(core) if args.say else None,
            concurrency=args.concurrency,
            budget=args.budget,
            max_failures=_parse_failures(args.max_failures),
            answer_type=answer_type,
        )
        run = core.llm.open_run(plan)
        if args.dry_run:
            show_estimate(run.estimate(), run.id, as_json=args.json)
            return 0
        _remember(args, path)
        try:
            forecast = Forecast(run, args, _count_items(args), core.settings, feed.parameters)
            failed = _write(run, feed, args, progress)
        except (KeyboardInterrupt, LLMCoreError):
            progress.close()
            note(f"the run {run.id} is not finished; resume it with: {_render_command(args)}")
            raise
    if feed.has_changed:
        raise LLMCoreError(
            f"{args.input} changed during the run",
            code="LC325",
            where=args.input,
            expected="a file that no other program writes to",
            fix=_render_command(args),
        )
    if feed.is_cut:
        args.limit = None  # without the limit, a resumed run sends the lines that were left out
        _remember(args, path)
    else:
        store = RunStore(path)
        store.set(finished="1")
        store.close()
    _report(run, failed, args, forecast, is_cut=feed.is_cut)
    return 1 if failed and not run.summary.done else 0


def _report(
    run: BatchRun, failed: int, args: argparse.Namespace, forecast: Forecast, *, is_cut: bool
) -> None:
    """Print the result of the run."""
    summary = run.summary
    if args.json and args.output != "-":
        print_json(run=run.id, **summary._asdict(), **forecast.describe())
    else:
        note(
            f"{summary.done} answered, {summary.failed} failed, {summary.requests} different requests, "
            f"{format_cost(summary.cost)} in all"
        )
        if not summary.items:
            note(f"{args.input} has no lines, so nothing was sent")
        elif (text := forecast.render()) is not None:
            note(text)
    if failed:
        place = "the field `error` of the output" if args.output == "-" else _get_errors_path(args)
        note(f"the lines that failed are in {place}")
    if is_cut:
        note(f"--limit left lines out; send them with: {_render_command(args)}")


def _write(run: BatchRun, feed: Feed, args: argparse.Namespace, progress: Progress) -> int:
    """Write the results in input order. Return the number of failures."""
    results = run.results()
    first = next(results, None)  # this locks the run, so open the output only afterwards
    target = find_index(args) if args.say else args.output
    writer = OutputWriter(target, find_format(target), args.input)
    names: set[str] = set()
    errors = Errors(None if args.output == "-" else _get_errors_path(args))
    try:
        for item in chain(() if first is None else (first,), results):
            row = feed.rows.popleft()
            answer = save_audio(args.output, item, names) if args.say else None
            writer.write(row if isinstance(row, dict) else {}, item, answer)
            if item.error is not None:
                errors.write(make_error_line(row, item))
            progress.count(item)
    finally:
        results.close()
        errors.close()
        writer.close()
    return errors.count


def _count_items(args: argparse.Namespace) -> int | None:
    """Return the approximate number of items; None if the number is unknown."""
    count = count_rows(args.input, find_format(args.input))
    return count if args.limit is None or count is None else min(count, args.limit)


# -- runs


def _find_path(args: argparse.Namespace) -> Path:
    """Return the file of the run that these arguments describe."""
    facts = {name: getattr(args, name) for name in _OPTIONS}
    facts |= {
        name: getattr(args, name) for name in _KINDS if getattr(args, name) not in {None, False, "chat"}
    }
    for name in ("input", "output"):
        if facts[name] != "-":
            facts[name] = str(Path(facts[name]).resolve())
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:10]
    stem = "stdin" if args.input == "-" else Path(args.input).stem
    name = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in stem)[:40]
    return find_runs_folder() / f"{name}-{digest}.sqlite3"


def _check_output(args: argparse.Namespace, path: Path) -> None:
    """Raise `UsageError` if the output belongs to a finished run or to another run."""
    output = Path(find_index(args) if args.say else args.output)
    facts = read_facts(path)
    is_finished = bool(facts and facts.get("finished"))
    if args.force or (args.output == "-" and is_finished):
        begin_again(args, path)
        return
    if args.output == "-" or not output.exists():
        return
    if facts is None or is_finished:
        what = (
            "its run is finished" if facts else "it does not belong to an unfinished run with these options"
        )
        raise UsageError(
            f"{args.output} exists already, and {what}",
            where=f"-o {args.output}",
            expected="a file that does not exist, or --force to begin again",
            fix=f"{_render_command(args)} --force",
        )


def _remember(args: argparse.Namespace, path: Path) -> None:
    store = RunStore(path)
    store.set(finished="", **({"input": "-"} if args.input == "-" else {}))
    store.set(
        arguments=json.dumps(
            {
                name: getattr(args, name)
                for name in (
                    *_OPTIONS,
                    *_KINDS,
                    "concurrency",
                    "max_failures",
                    "budget",
                    "limit",
                    "lane",
                    *ENGINE,
                )
            }
        ),
        folder=str(Path.cwd()),
        output=args.output,
    )
    store.close()


def _resume(args: argparse.Namespace) -> int:
    """Continue a run with the arguments that began it."""
    path = find_run(args.id)
    facts = read_facts(path) or {}
    if "arguments" not in facts:
        raise UsageError(
            f"the run {args.id} was begun by a program",
            expected=f'core.llm.resume_batch("{args.id}") in that program',
        )
    if facts.get("finished"):
        note(f"the run {args.id} is finished; its answers are in {facts['output']}")
        return 0
    import os

    os.chdir(facts["folder"])
    args.lane, args.api, args.say, args.voice = None, "chat", False, None
    args.engine = args.engine_address = None
    for name, value in json.loads(facts["arguments"]).items():
        setattr(args, name, value)
    args.force = args.dry_run = False
    check_paths(args.input, find_index(args) if args.say else args.output)
    with lock_output(args.output):
        return _run_batch(args, path)


def _parse_failures(text: str | None) -> Callable[[int], float] | None:
    """Return a function from the number of finished items to the allowed number of failures; None without a limit."""
    if text is None:
        return None
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = -1.0
    if number < 0:
        raise UsageError(
            f"--max-failures must be a number or a percentage, got {text}",
            where="--max-failures",
            expected="a number such as 100, or a part such as 1%",
        )
    if text.endswith("%"):
        return lambda seen: max(number / 100 * seen, 1.0 if seen < 100 else 0.0)  # noqa: PLR2004 - of fewer than 100 items, one is allowed to fail
    return lambda _: number


def _get_errors_path(args: argparse.Namespace) -> Path:
    return Path(args.output, "errors.jsonl") if args.say else Path(f"{args.output}.errors.jsonl")


def _render_command(args: argparse.Namespace) -> str:
    words = ["llmcore", "batch", "run", args.input, "-o", args.output]
    for option in (
        "prompt",
        "column",
        "system",
        "model",
        "schema",
        "budget",
        "concurrency",
        "max_failures",
        "limit",
        "lane",
        *ENGINE,
    ):
        value = getattr(args, option)
        if value is not None:
            words += [f"--{option.replace('_', '-')}", str(value)]
    words += ["--api", args.api] if args.api != "chat" else []
    words += ["--say"] if args.say else []
    words += ["--voice", args.voice] if args.voice is not None else []
    for value in args.parameter:
        words += ["-p", value]
    return shlex.join(words)
