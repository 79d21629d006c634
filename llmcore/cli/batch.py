"""`llmcore batch`: run a file of prompts, resume a run, and show runs."""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
from collections.abc import Callable, Iterator
from itertools import islice, tee
from pathlib import Path
from typing import Any, Final

from llmcore.cli.batch_files import Row, Writer, find_format, make_prompt, read_rows
from llmcore.cli.batch_progress import Progress
from llmcore.cli.misuse import UsageError
from llmcore.cli.opening import open_core, parse_values
from llmcore.cli.parser import make_action_adder
from llmcore.cli.show import Paint, format_cost, note, print_json, put, render_table
from llmcore.cli.streams import get_stdout
from llmcore.errors import BadRequest, LLMCoreError
from llmcore.llm.batch.items import BatchItem, Prepared, prepare
from llmcore.llm.batch.run import BatchRun, find_run, runs_folder
from llmcore.llm.batch.store import RunStore, list_runs

__all__ = ["configure"]

_OPTIONS: Final = ("input", "output", "prompt", "column", "system", "model", "schema", "parameter")
"""What makes a run the same run, with the output."""


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
        "input", metavar="INPUT", help="a .jsonl, .csv, .parquet or .txt file, or - for JSON lines on stdin"
    )
    run.add_argument(
        "-o", "--output", required=True, metavar="OUTPUT", help="the file of the answers, or - for stdout"
    )
    run.add_argument(
        "--prompt", metavar="TEXT", help='a prompt with the fields of a line: "Classify: {text}"'
    )
    run.add_argument("--column", metavar="NAME", help="the field that is the prompt")
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
    run.add_argument("--budget", metavar="AMOUNT", help='the most that the run may cost, such as "5 USD"')
    run.add_argument(
        "--concurrency", type=int, metavar="N", help="requests in flight; default: adapted to the server"
    )
    run.add_argument(
        "--max-failures", metavar="N|N%%", help="stop when more lines have failed, such as 100 or 1%%"
    )
    run.add_argument("--limit", type=int, metavar="N", help="only the first N lines")
    run.add_argument("--force", action="store_true", help="overwrite the output and begin again")
    add("list", "list the runs", _list)
    status = add("status", "show how far a run is", _status)
    status.add_argument("id", nargs="?", metavar="RUN", help="default: the newest")
    resume = add("resume", "continue a run", _resume)
    resume.add_argument("id", metavar="RUN")
    cancel = add("cancel", "forget a run that no process works on; its answers stay in the output", _cancel)
    cancel.add_argument("id", metavar="RUN")
    parser.set_defaults(run=_list)


def _run(args: argparse.Namespace) -> int:
    """Run a file."""
    for file in (args.input, args.output):
        find_format(file)
    path = _find_path(args)
    _check_output(args, path)
    return _work(args, path)


def _work(args: argparse.Namespace, path: Path) -> int:
    parameters = parse_values(args.parameter, "-p")
    if args.schema:
        from llmcore.cli.schema_file import read_schema

        parameters["response_format"] = read_schema(args.schema)
    kind = find_format(args.input)
    sent, written = _make_readers(lambda: islice(read_rows(args.input, kind), args.limit), args)

    def read() -> Iterator[Prepared]:
        for number, row in enumerate(sent):
            yield prepare(
                number, _to_item(make_prompt(row, args.prompt, args.column), args), parameters, args.system
            )

    with open_core(args) as core:
        run = core.llm.open_run(
            path,
            read,
            {"model": args.model},
            concurrency=args.concurrency,
            budget=args.budget,
            max_failures=_parse_failures(args.max_failures),
        )
        _remember(args, path)
        try:
            failed = _write(run, enumerate(written), args)
        except (KeyboardInterrupt, LLMCoreError):
            note(f"the run {run.id} is not finished; resume it with: {_render_command(args)}")
            raise
    store = RunStore(path)
    store.set(finished="1")
    store.close()
    summary = run.summary
    if args.json and args.output != "-":
        print_json(run=run.id, **summary._asdict())
    else:
        note(
            f"{summary.done} answered, {summary.failed} failed, {summary.requests} different requests, "
            f"{format_cost(summary.cost)} in all"
        )
    if failed:
        note(f"the lines that failed are in {_errors_path(args)}")
    return 1 if failed and not summary.done else 0


def _make_readers(
    make: Callable[[], Iterator[Row]], args: argparse.Namespace
) -> tuple[Iterator[Row], Iterator[Row]]:
    """Return two readers of the input: one for what is sent, and one that follows for what is written."""
    if args.input == "-":  # it can be read once; the rows between the two readers are in memory
        first, second = tee(make())
        return first, second
    return make(), make()


def _write(run: BatchRun, rows: Iterator[tuple[int, Row]], args: argparse.Namespace) -> int:
    """Write the results in the order of the input; return how many failed."""
    writer = Writer(args.output, find_format(args.output))
    errors: Any = None
    failed = 0
    progress = Progress()
    try:
        for item in run.results():
            row = next(row for number, row in rows if number == item.index)
            writer.write(row if isinstance(row, dict) else {}, item)
            if item.error is not None:
                failed += 1
                if args.output != "-":
                    errors = errors or _errors_path(args).open("w", encoding="utf-8")
                    errors.write(
                        json.dumps(_make_error_line(row, item), ensure_ascii=False, default=str) + "\n"
                    )
            progress.count(item)
    finally:
        progress.close()
        writer.close()
        if errors is not None:
            errors.close()
    if not failed and args.output != "-":
        _errors_path(args).unlink(missing_ok=True)
    return failed


def _to_item(row: Row, args: argparse.Namespace) -> Any:
    """Return what is sent of *row*: of a table, only the prompt and the id."""
    if isinstance(row, BadRequest) or "body" in row:
        return row
    if args.prompt is None and args.column is None and find_format(args.input) not in {"csv", "parquet"}:
        return row
    return {name: row[name] for name in ("id", "prompt", "messages") if row.get(name)}


def _make_error_line(row: Row, item: BatchItem) -> dict[str, Any]:
    error = item.error
    assert error is not None  # noqa: S101 - only failed items come here
    return {
        "line": item.index + 1,
        "id": item.id,
        "code": error.code,
        "error": error.message,
        "where": error.where,
        "input": row if isinstance(row, dict) else None,
    }


# -- runs


def _find_path(args: argparse.Namespace) -> Path:
    """Return the file of the run that these arguments describe."""
    facts = {name: getattr(args, name) for name in _OPTIONS}
    for name in ("input", "output"):
        if facts[name] != "-":
            facts[name] = str(Path(facts[name]).resolve())
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:10]
    stem = "stdin" if args.input == "-" else Path(args.input).stem
    name = "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in stem)[:40]
    return runs_folder() / f"{name}-{digest}.sqlite3"


def _check_output(args: argparse.Namespace, path: Path) -> None:
    """Raise `UsageError` if the output is that of a finished run, or not of this run."""
    output = Path(args.output)
    if args.force:
        for file in (path, path.with_suffix(".sqlite3-wal"), path.with_suffix(".sqlite3-shm")):
            file.unlink(missing_ok=True)
        return
    facts = _read_facts(path)
    if args.output == "-" or not output.exists():
        return
    if facts is None or "finished" in facts:
        what = "is finished" if facts else "belongs to no unfinished run with these options"
        raise UsageError(
            f"{args.output} exists already, and {what}",
            where=f"-o {args.output}",
            expected="a file that does not exist, or --force to begin again",
            fix=f"{_render_command(args)} --force",
        )


def _read_facts(path: Path) -> dict[str, str] | None:
    return next((facts for name, facts, _ in list_runs(path.parent) if name == path.stem), None)


def _remember(args: argparse.Namespace, path: Path) -> None:
    store = RunStore(path)
    if args.input == "-":
        store.set(input="-")
    store.set(
        arguments=json.dumps(
            {
                name: getattr(args, name)
                for name in (*_OPTIONS, "concurrency", "max_failures", "budget", "limit")
            }
        ),
        folder=str(Path.cwd()),
        output=args.output,
    )
    store.close()


def _resume(args: argparse.Namespace) -> int:
    """Continue a run with the arguments that began it."""
    path = find_run(args.id)
    facts = _read_facts(path) or {}
    if "arguments" not in facts:
        raise UsageError(
            f"the run {args.id} was begun by a program",
            expected=f'core.llm.resume_batch("{args.id}") in that program',
        )
    if "finished" in facts:
        note(f"the run {args.id} is finished; its answers are in {facts['output']}")
        return 0
    import os

    os.chdir(facts["folder"])
    for name, value in json.loads(facts["arguments"]).items():
        setattr(args, name, value)
    args.force = False
    return _work(args, path)


def _cancel(args: argparse.Namespace) -> int:
    """Remove the file of a run."""
    path = find_run(args.id)
    RunStore(path).close()  # refused while another process works on it
    for ending in (".sqlite3", ".sqlite3-wal", ".sqlite3-shm", ".lock"):
        path.with_suffix(ending).unlink(missing_ok=True)
    note(f"forgot the run {args.id}")
    return 0


def _list(args: argparse.Namespace) -> int:
    """List the runs."""
    rows = [_describe(name, facts, counts) for name, facts, counts in list_runs(runs_folder())]
    if args.json:
        print_json(runs=rows)
    elif rows:
        headers = ("run", "state", "items", "answered", "failed", "begun")
        table = [
            [str(row[name]) for name in ("run", "state", "items", "done", "failed", "created")]
            for row in rows
        ]
        put(render_table(headers, table, Paint.of(get_stdout(), no_color=args.no_color), whole=("run",)))
    else:
        note("no runs")
    return 0


def _status(args: argparse.Namespace) -> int:
    """Show one run."""
    wanted = None if args.id is None else find_run(args.id).stem
    found = [run for run in list_runs(runs_folder()) if wanted in {None, run[0]}]
    if not found:
        raise UsageError(
            "there are no runs", expected="a run", fix="llmcore batch run prompts.jsonl -o answers.jsonl"
        )
    row = _describe(*found[0])
    if args.json:
        print_json(**row)
    else:
        put("\n".join(f"{name}: {value}" for name, value in row.items() if value is not None))
    return 0


def _describe(name: str, facts: dict[str, str], counts: Any) -> dict[str, Any]:
    state = "finished" if "finished" in facts else "unfinished"
    return {
        "run": name,
        "state": state,
        "items": counts.items,
        "done": counts.done,
        "failed": counts.failed,
        "requests": counts.answers,
        "output": facts.get("output"),
        "created": facts.get("created"),
    }


def _parse_failures(text: str | None) -> Callable[[int], float] | None:
    """Return how many of a number of items may have failed."""
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
        return lambda seen: max(number / 100 * seen, 1.0 if seen < 100 else 0.0)  # noqa: PLR2004 - one of few is no rate
    return lambda _: number


def _errors_path(args: argparse.Namespace) -> Path:
    return Path(f"{args.output}.errors.jsonl")


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
    ):
        value = getattr(args, option)
        if value is not None:
            words += [f"--{option.replace('_', '-')}", str(value)]
    for value in args.parameter:
        words += ["-p", value]
    return shlex.join(words)
