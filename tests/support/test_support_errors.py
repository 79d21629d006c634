"""`raise_unchained`: the error that reaches the caller has no reference to the exception that it replaces."""

from __future__ import annotations

import asyncio
import gc
import traceback
import weakref
from collections.abc import Iterator

import pytest

from llmcore.errors import Unavailable
from llmcore.support.errors import raise_unchained


class ForeignError(Exception):
    """An SDK's error, which holds the request."""

    def __init__(self, key: str) -> None:
        super().__init__("the connection was refused")
        self.request = {"authorization": key}


def call_sdk() -> None:
    raise ForeignError("sk-secret")


def translate() -> None:
    """Call the SDK as a provider does."""
    try:
        call_sdk()
    except ForeignError as error:
        raise_unchained(Unavailable(f"acme cannot be reached: {error}"))


def test_an_error_raised_inside_an_except_block_has_no_context() -> None:
    with pytest.raises(Unavailable) as caught:
        translate()
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    assert "connection was refused" in caught.value.message


def test_a_chain_that_the_error_had_already_is_removed() -> None:
    error = Unavailable("acme cannot be reached")
    try:
        raise error from ForeignError("sk-secret")
    except Unavailable:
        pass
    with pytest.raises(Unavailable) as caught:
        raise_unchained(error)
    assert caught.value is error
    assert error.__cause__ is None
    assert error.__context__ is None


def test_the_error_stays_unchained_on_its_way_through_other_blocks() -> None:
    def call() -> None:
        try:
            translate()
        finally:
            gc.get_count()

    with pytest.raises(Unavailable) as caught:
        call()
    assert caught.value.__context__ is None


def test_the_error_of_a_generator_and_of_a_coroutine_is_unchained() -> None:
    def pieces() -> Iterator[str]:
        yield "one"
        try:
            call_sdk()
        except ForeignError:
            raise_unchained(Unavailable("the stream ended early"))

    async def answer() -> None:
        try:
            call_sdk()
        except ForeignError:
            raise_unchained(Unavailable("the stream ended early"))

    with pytest.raises(Unavailable) as first:
        list(pieces())
    with pytest.raises(Unavailable) as second:
        asyncio.run(answer())
    assert first.value.__context__ is None
    assert second.value.__context__ is None


def test_a_printed_traceback_names_only_the_new_error() -> None:
    with pytest.raises(Unavailable) as caught:
        translate()
    printed = "".join(traceback.format_exception(caught.value))
    assert "ForeignError" not in printed
    assert "in translate" in printed


def test_the_foreign_exception_is_freed_while_the_error_is_kept() -> None:
    references: list[weakref.ref[ForeignError]] = []

    def translate() -> None:
        try:
            call_sdk()
        except ForeignError as error:
            references.append(weakref.ref(error))
            raise_unchained(Unavailable("acme cannot be reached"))

    with pytest.raises(Unavailable) as caught:
        translate()
    gc.collect()
    assert references[0]() is None
    assert caught.value.message == "acme cannot be reached"
