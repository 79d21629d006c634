"""The arguments of a call that are not sent: cache, user, tags, timeout."""

from __future__ import annotations

from typing import Any, NamedTuple

from llmcore.calls.arguments import CacheUse, check_cache_use, parse_seconds
from llmcore.calls.deadline import Deadline
from llmcore.calls.text_arguments import check_tags, check_text, check_user
from llmcore.llm.call import ChatCall
from llmcore.llm.kind import ChatKind
from llmcore.llm.models import Target
from llmcore.llm.request import parse_refresh
from llmcore.pipeline import Services
from llmcore.types import ChatRequest

__all__ = ["CallOptions", "take_call_options"]


class CallOptions(NamedTuple):
    """The checked arguments."""

    cache: CacheUse
    user: str | None
    tags: tuple[str, ...]
    namespace: str | None
    timeout_s: float | None
    """The caller's timeout in seconds. None means the `deadline` of [retry]."""
    deadline: Deadline
    ttl: float | None
    refresh: float | None

    def make_call(
        self,
        kind: ChatKind,
        target: Target,
        request: ChatRequest,
        *,
        streaming: bool,
        answer_type: type | None = None,
    ) -> ChatCall:
        """Return the call of *request* to one model."""
        target.backend.limit_creation(self.deadline.get_time_left)
        return ChatCall(
            kind=kind,
            methods=kind.methods,
            backend=target.backend,
            request=request,
            deadline=self.deadline,
            key=target.make_key(request, self.namespace) if self.cache else None,
            reads=self.cache != "refresh",
            ttl=self.ttl,
            refresh=self.refresh,
            model_path=target.path,
            timeout_s=self.timeout_s,
            answer_type=answer_type,
            streaming=streaming,
            user=self.user,
            tags=self.tags,
        )


def take_call_options(
    options: dict[str, Any], services: Services, default_refresh: float | None
) -> CallOptions:
    """Remove the arguments from *options* and return them after a check.

    Raises:
        BadRequest: An argument is not valid.
    """
    take = options.pop
    cache = check_cache_use(take("cache", True))  # noqa: FBT003 - `dict.pop` has no keyword
    user, tags = take("user", None), take("tags", ())
    namespace, timeout = take("cache_namespace", None), take("timeout", None)
    ttl, refresh = take("cache_ttl", None), take("cache_refresh", None)
    ttl = None if ttl is None else parse_seconds(ttl, "cache_ttl")
    if refresh is None:
        refresh = default_refresh
    else:
        refresh = parse_refresh(refresh, services.cache.ttl if ttl is None else ttl, "cache_refresh")
    timeout_s = None if timeout is None else parse_seconds(timeout, "timeout")
    return CallOptions(
        cache=cache,
        user=None if user is None else check_user(user),
        tags=() if tags == () else check_tags(tags),
        namespace=None if namespace is None else check_text(namespace, "cache_namespace"),
        timeout_s=timeout_s,
        deadline=Deadline(services.policy.deadline_s if timeout_s is None else timeout_s),
        ttl=ttl,
        refresh=refresh,
    )
