"""Budgets and local servers: each refusal points at the budget's line, and its fix lets the call pass."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

import llmcore
from llmcore.cli import main
from llmcore.core import Core
from llmcore.types import Message, Reply
from llmcore_testing.simulator import Simulator
from tests.kits.mistakes import KEY, Workshop

CONFIG = """[llm]
provider = "openai"
model = "tiny"

[llm.openai]
base_url = "{url}"
api_key = "env:MY_KEY"

[budget]
limit = "0.01 USD"
"""
PLACE = "llmcore.toml:10:9"


@pytest.fixture
def server() -> Iterator[Simulator]:
    with Simulator(models=["tiny", "other"]) as simulator:
        yield simulator


@pytest.fixture
def shop(server: Simulator, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    monkeypatch.setenv("MY_KEY", KEY)
    shop = Workshop(Path.cwd())
    shop.write(CONFIG.format(url=server.base_url))
    return shop


def ask_without_limit(core: Core) -> Reply:
    return core.llm.chat("Hi")


def ask_with_limit(core: Core) -> Reply:
    return core.llm.chat("Hi", max_tokens=10)


def test_a_call_without_a_bound_says_how_to_bound_it(shop: Workshop) -> None:
    error = shop.fail(ask_without_limit)
    assert (error.code, error.where) == ("LC604", PLACE)
    assert 'limit = "0.01 USD"' in (error.excerpt or "")
    assert error.fix == "llmcore config set 'prices.\"openai:tiny\"' 0"
    assert shop.paste(error.fix, ask_without_limit).cost == 0


def test_a_price_of_a_server_of_ones_own_is_one_line(shop: Workshop) -> None:
    error = shop.fail(ask_with_limit)
    assert (error.code, error.where) == ("LC602", PLACE)
    assert error.fix == "llmcore config set 'prices.\"openai:tiny\"' 0"
    reply = shop.paste(error.fix, ask_with_limit)
    assert (reply.cost, reply.cost_source) == (0, "config")
    with llmcore.load() as core:  # a free model needs no bound
        assert core.llm.chat("Hello").cost == 0


SAMPLE = "{ input = 0.25, output = 2.00 }"
PARTS: list[Message] = [{"role": "user", "content": [{"type": "text", "text": "What is this?"}]}]


@pytest.fixture
def vendor(scripted: object) -> Workshop:
    """A vendor's model that neither the provider nor the configuration has a price for."""
    del scripted
    shop = Workshop(Path.cwd())
    shop.write('[llm]\nprovider = "scripted"\nmodel = "new"\n\n[budget]\nlimit = "5 USD"\n')
    return shop


def test_a_vendors_model_without_a_price_gets_one_and_then_a_bound(vendor: Workshop) -> None:
    error = vendor.fail(ask_without_limit)
    assert (error.code, error.where) == ("LC604", "llmcore.toml:6:9")
    assert "neither a price nor an upper bound" in error.message
    assert "enter those of the vendor" in str(error.notes)
    assert error.fix == f"llmcore config set 'prices.\"scripted:new\"' '{SAMPLE}'"
    assert main(shlex.split(error.fix)[1:]) == 0
    error = vendor.fail(ask_without_limit)
    assert (error.code, error.fix) == ("LC604", "chat(..., max_tokens=1000)")
    with llmcore.load() as core:
        assert core.llm.chat("Hi", max_tokens=1000).cost_source == "config"


def test_a_request_that_no_limit_bounds_needs_a_budget_that_allows_it(vendor: Workshop) -> None:
    vendor.write(vendor.file.read_text() + f'\n[prices]\n"scripted:new" = {SAMPLE}\n')

    def ask_about_a_part(core: Core) -> Reply:
        return core.llm.chat(PARTS, max_tokens=10)

    error = vendor.fail(ask_about_a_part)
    assert error.code == "LC604"
    assert error.fix == "llmcore config set budget.unknown_price allow"
    assert vendor.paste(error.fix, ask_about_a_part).cost_source == "config"


@pytest.mark.usefixtures("shop")
def test_one_setting_makes_every_model_of_a_provider_free() -> None:
    assert main(["config", "set", "prices.openai", "0"]) == 0
    assert main(["config", "check"]) == 0
    with llmcore.load() as core:
        for model in ("tiny", "other"):
            assert core.llm.chat("Hi", model=f"openai:{model}").cost == 0


def test_the_price_of_a_model_wins_over_that_of_its_provider(shop: Workshop) -> None:
    shop.write(
        shop.file.read_text() + '\n[prices]\nopenai = 0\n[prices."openai:tiny"]\ninput = 1\noutput = 1\n'
    )
    with llmcore.load() as core:
        assert core.llm.chat("Hi", max_tokens=10).cost
        assert core.llm.chat("Hi", model="openai:other").cost == 0


@pytest.mark.usefixtures("shop")
def test_prices_are_set_together() -> None:
    assert main(["config", "set", 'prices."openai:tiny"', "{ input = 0.25, output = 2.00 }"]) == 0
    price = llmcore.load().settings.prices["openai:tiny"]
    assert (price.input, price.output) == (Decimal("0.25"), Decimal("2.00"))
    assert (
        main(["config", "set", 'prices."openai:tiny"', "{ input = 0.25 }"]) == 3
    )  # which is not a complete price


@pytest.mark.parametrize("price", ["2", '"0"', "true", "-0.5"])
def test_only_0_is_a_price_without_a_table(
    price: str, shop: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.write(shop.file.read_text() + f'\n[prices]\n"openai:tiny" = {price}\n')
    assert main(["config", "check"]) == 3
    assert "or 0 for a free model" in capsys.readouterr().err


def test_a_budget_that_is_too_small_proposes_the_longest_answer_that_fits(shop: Workshop) -> None:
    shop.write(shop.file.read_text() + 'per = "day"\n[prices."openai:tiny"]\ninput = 1\noutput = 100\n')
    error = shop.fail(lambda core: core.llm.chat("Hi", max_tokens=1000))
    assert (error.code, error.where) == ("LC601", PLACE)
    text = error.render()
    assert "the day ends at 20" in text
    assert "`llmcore usage budget` shows what was spent" in text
    assert f"the owner of the budget may raise its limit in {PLACE}" in text
    assert (error.fix or "").startswith("chat(..., max_tokens=")
    longest = int((error.fix or "").partition("=")[2][:-1])
    assert shop.paste(error.fix or "", ask_with_limit).cost
    shop.fail(lambda core: core.llm.chat("Hi again", max_tokens=longest + 2))


def test_an_exhausted_budget_shows_the_spent_amount(shop: Workshop) -> None:
    shop.write(shop.file.read_text() + '\n[prices."openai:tiny"]\ninput = 1000\noutput = 1000\n')
    error = shop.fail(ask_with_limit)
    assert (error.code, error.where, error.fix) == ("LC601", PLACE, "llmcore usage budget")
    assert "the budget is a total, which never starts again" in error.render()
    assert "config set" not in error.render()


def test_the_limit_of_an_answer_keeps_its_name(shop: Workshop) -> None:
    shop.write(shop.file.read_text() + '\n[prices."openai:tiny"]\ninput = 1\noutput = 100\n')
    error = shop.fail(lambda core: core.llm.chat("Hi", max_completion_tokens=1000))
    assert (error.fix or "").startswith("chat(..., max_completion_tokens=")


@pytest.mark.usefixtures("shop")
def test_the_command_line_gives_the_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", "Hi"]) == 5
    assert """  = fix: llmcore config set 'prices."openai:tiny"' 0\n""" in capsys.readouterr().err
