"""Classify the rows of a CSV file as one batch: price it, interrupt it, resume it, and send it through the vendor's queue.

    python examples/batch.py --rows 5000

The simulator answers, so nothing is paid. For a real vendor, keep the four commands, and the configuration without `base_url`.
"""

from __future__ import annotations

import argparse
import csv
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from llmcore_testing import Simulator

CONFIG = """
[llm]
provider = "openai"
model = "gpt-4o-mini"

[llm.openai]
base_url = "{url}"
api_key = "env:SIMULATOR_KEY"
"""
OPTIONS = ["--prompt", "Is this review good or bad? {text}", "-p", "max_tokens=20"]


def write_reviews(rows: int) -> None:
    """Write *rows* reviews; every fifth repeats another one."""
    with Path("reviews.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        writer.writerows(
            [number, f"The tea number {number - number % 5 // 4} was warm."] for number in range(rows)
        )


def llmcore(*arguments: str) -> subprocess.Popen[bytes]:
    """Start the command line."""
    return subprocess.Popen([sys.executable, "-m", "llmcore", "batch", *arguments])  # noqa: S603 - our own program


def count_answers() -> int:
    """Return how many rows have an answer."""
    with Path("classified.csv").open(newline="", encoding="utf-8") as file:
        return sum(bool(row["answer"]) for row in csv.DictReader(file))


def main(rows: int) -> None:
    """Run the four commands."""
    with Simulator(latency_s=0.02) as upstream:
        os.environ["SIMULATOR_KEY"] = "sk-simulated"
        Path("llmcore.toml").write_text(CONFIG.format(url=upstream.base_url), encoding="utf-8")
        write_reviews(rows)
        run = ["run", "reviews.csv", "-o", "classified.csv", *OPTIONS]

        print("1. What would it cost, now and in the queue?", flush=True)
        llmcore(*run, "--dry-run").wait()

        print("2. Run it, and press Ctrl-C.", flush=True)
        process = llmcore(*run, "--budget", "5 USD")
        while upstream.counts["chat"] < rows // 10 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        process.wait()

        print("3. The same command sends the rest.", flush=True)
        before = upstream.counts["chat"]
        llmcore(*run, "--budget", "5 USD").wait()
        print(f"{before} requests before, {upstream.counts['chat'] - before} after", flush=True)
        print(f"{count_answers()} of {rows} rows are classified", flush=True)

        print("4. The same rows with another question, at half the price.", flush=True)
        llmcore(
            "run",
            "reviews.csv",
            "-o",
            "queued.csv",
            "--lane",
            "queue",
            "--prompt",
            "Hot or cold? {text}",
            "-p",
            "max_tokens=20",
        ).wait()
        print(f"{upstream.counts['batches']} batch of {upstream.counts['batch_items']} requests", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=5000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ |= {"XDG_STATE_HOME": folder, "XDG_CACHE_HOME": folder}
        main(arguments.rows)
        os.chdir("/")
