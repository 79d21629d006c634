"""Offer `cassette` as a language model and as a voice.

The recorded provider is created only in the modes "record" and "auto".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from llmcore.hookspecs import COMMON_PARAMETERS, Provider, hookimpl
from llmcore_testing.cassette.options import CassetteOptions

if TYPE_CHECKING:
    from llmcore_testing.cassette.provider import Cassette

__all__ = ["LLMCORE_API", "llmcore_llm_providers", "llmcore_voice_providers"]

LLMCORE_API: Final = 1


class _AnyParameter(frozenset[str]):
    """A set that contains every parameter name, because the recorded provider is not known here."""

    def issuperset(self, names: Iterable[object], /) -> bool:  # noqa: ARG002 - every name is accepted
        return True


def _create_llm(options: CassetteOptions) -> Cassette:
    from llmcore_testing.cassette.provider import Cassette

    return Cassette("llm", options)


def _find_apis(options: CassetteOptions) -> frozenset[str]:
    from llmcore_testing.cassette.provider import find_apis

    return find_apis(options)


def _create_voice(options: CassetteOptions) -> Cassette:
    from llmcore_testing.cassette.provider import Cassette

    return Cassette("voice", options)


@hookimpl
def llmcore_llm_providers() -> Iterable[Provider]:
    """Offer `cassette`."""
    yield Provider(
        name="cassette",
        options=CassetteOptions,
        create=_create_llm,
        parameters=_AnyParameter({*COMMON_PARAMETERS, "extra_body"}),
        apis=_find_apis,
    )


@hookimpl
def llmcore_voice_providers() -> Iterable[Provider]:
    """Offer `cassette`."""
    yield Provider(name="cassette", options=CassetteOptions, create=_create_voice)
