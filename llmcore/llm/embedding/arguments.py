"""Check the arguments of `embed`, and make one call for each model to try."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from llmcore.calls.steps import Act
from llmcore.calls.text_arguments import check_model
from llmcore.llm.call_options import CallOptions, take_call_options
from llmcore.llm.embedding.embed import TextsCall, embed
from llmcore.llm.embedding.request import check_dimensions, check_options, check_texts, make_parameters
from llmcore.llm.fallback import try_in_order
from llmcore.llm.models import Models, Target
from llmcore.llm.options import EmbedOptions
from llmcore.llm.request import EXTRA_BODY, normalise_extra_body
from llmcore.pipeline import Services
from llmcore.types import EmbeddingRequest, Embeddings

__all__ = ["make_calls", "prepare"]

_ALIAS: Final = "embedding"
"""The name in `[models]` that is used if a call does not name a model."""


def prepare(
    models: Models,
    services: Services,
    texts: object,
    *,
    model: str | None,
    dimensions: object,
    options: EmbedOptions,
) -> Act[Embeddings]:
    """Check the arguments, and return the call that embeds the texts."""
    calls = make_calls(models, services, texts, model=model, dimensions=dimensions, options=options)
    return try_in_order(calls, services, embed)


def make_calls(
    models: Models,
    services: Services,
    texts: object,
    *,
    model: str | None,
    dimensions: object,
    options: EmbedOptions,
) -> list[TextsCall]:
    """Check the arguments, and return one call for each model to try."""
    given = cast("dict[str, Any]", options)
    check_options(given)
    extra_body = given.pop(EXTRA_BODY, None)
    checked, length = check_texts(texts), check_dimensions(dimensions)
    own = take_call_options(given, services, None)
    if model is None and models.has_name(_ALIAS):
        model = _ALIAS
    targets = models.find_targets(None if model is None else check_model(model))
    if extra_body is not None:
        for target in targets:
            target.check({EXTRA_BODY: extra_body})
    extra = {} if extra_body is None else normalise_extra_body(extra_body)
    parameters = make_parameters(length, extra)
    return [_make_call(target, checked, parameters, own) for target in targets]


def _make_call(
    target: Target, texts: list[str], parameters: Mapping[str, Any], options: CallOptions
) -> TextsCall:
    keys: dict[str, str] = {}
    if options.cache:
        for text in dict.fromkeys(texts):
            request = EmbeddingRequest(model=target.model, texts=[text], parameters=parameters)
            key = target.make_key(request, options.namespace)
            if key is None:  # the answer depends on data that the server stores
                keys = {}
                break
            keys[text] = key
    return TextsCall(
        backend=target.backend,
        request=EmbeddingRequest(model=target.model, texts=texts, parameters=parameters),
        keys=keys,
        deadline=options.deadline,
        reads=options.cache != "refresh",
        ttl=options.ttl,
        model_path=target.path,
        timeout_s=options.timeout_s,
        user=options.user,
        tags=options.tags,
    )
