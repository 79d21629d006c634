"""The client for voices: what an application calls to speak."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeAlias

from llmcore.calls.attempts import Deadline
from llmcore.calls.backend import Backend
from llmcore.calls.drivers import aiterate, arun, iterate, run
from llmcore.calls.texts import text
from llmcore.llm.request import CacheUse, frozen, seconds
from llmcore.types import Speech, VoiceInfo, VoiceModel, VoicePage, VoiceTraits
from llmcore.voice.catalogue import Voices
from llmcore.voice.exchange import House
from llmcore.voice.fallback import along
from llmcore.voice.request import SHARED_SETTINGS, Ask, checked, checked_settings
from llmcore.voice.speaker import traits_of
from llmcore.voice.speaking import TextCall

__all__ = ["VoiceClient"]

Progress: TypeAlias = Callable[[int, int], object] | None
Timeout: TypeAlias = float | str | timedelta | None


class VoiceClient:
    """Speaks with the configured voice. Each method has an async twin with the prefix `a`."""

    def __init__(
        self, opener: Callable[[str | None], Backend], fallback: Sequence[str], house: House
    ) -> None:
        """Prepare it.

        Args:
            opener: Gives the backend of a provider's name; None is the configured one.
            fallback: Providers that are tried in order where the configured one fails.
            house: What all calls share.
        """
        self._opener = opener
        self._fallback = tuple(fallback)
        self._house = house
        self._voices = Voices(lambda: opener(None), house.policy)

    def synthesize(
        self,
        text: str,
        voice: str | None = None,
        *,
        model: str | None = None,
        cache: CacheUse = True,
        timeout: Timeout = None,
        tags: str | Sequence[str] = (),
        user: str | None = None,
        progress: Progress = None,
        **settings: Any,
    ) -> Speech:
        """Speak *text*, however long it is.

        With the cache each sentence is asked for, and kept, on its own; without it the requests are as long as the
        model takes.

        Args:
            text: What to say; SSML where the provider understands it.
            voice: A voice id of the provider; None takes the configured one.
            model: None takes the configured one.
            cache: True, False, or "refresh" to speak afresh and keep the audio.
            timeout: Seconds, or "30s", over the whole text, in place of the configured deadline.
            tags: For the books.
            user: For the books.
            progress: Called with the characters that are done, and all of them, after each piece of a text.
            settings: The provider's own. `format`, `speed` and `language` mean the same to every provider.

        Raises:
            VoiceError: The text cannot be said (nothing was sent), the voice is not known, or what came back is not
                audio that plays.
            BadRequest: A setting does not fit; nothing was sent.
            ProviderError: The backend refused or failed, after the attempts that the configuration allows. What was
                spoken by then is in the cache.
        """
        ask = Ask(text, voice, model, cache, timeout, tags, user, progress, settings)
        return run(along(self._texts(ask), self._house))

    async def asynthesize(
        self,
        text: str,
        voice: str | None = None,
        *,
        model: str | None = None,
        cache: CacheUse = True,
        timeout: Timeout = None,  # noqa: ASYNC109 - of all attempts together, which the host holds
        tags: str | Sequence[str] = (),
        user: str | None = None,
        progress: Progress = None,
        **settings: Any,
    ) -> Speech:
        """See `synthesize`."""
        ask = Ask(text, voice, model, cache, timeout, tags, user, progress, settings)
        return await arun(along(self._texts(ask), self._house))

    def synthesize_with_timestamps(
        self,
        text: str,
        voice: str | None = None,
        *,
        model: str | None = None,
        cache: CacheUse = True,
        timeout: Timeout = None,
        tags: str | Sequence[str] = (),
        user: str | None = None,
        progress: Progress = None,
        **settings: Any,
    ) -> Speech:
        """Speak *text*, and tell in `Speech.alignment` when each of its characters is spoken. Otherwise as `synthesize`.

        Raises:
            PluginError: The provider cannot tell.
        """
        ask = Ask(text, voice, model, cache, timeout, tags, user, progress, settings)
        return run(along(self._texts(ask, timed=True), self._house))

    async def asynthesize_with_timestamps(
        self,
        text: str,
        voice: str | None = None,
        *,
        model: str | None = None,
        cache: CacheUse = True,
        timeout: Timeout = None,  # noqa: ASYNC109 - as above
        tags: str | Sequence[str] = (),
        user: str | None = None,
        progress: Progress = None,
        **settings: Any,
    ) -> Speech:
        """See `synthesize_with_timestamps`."""
        ask = Ask(text, voice, model, cache, timeout, tags, user, progress, settings)
        return await arun(along(self._texts(ask, timed=True), self._house))

    def stream(
        self,
        text: str,
        voice: str | None = None,
        *,
        model: str | None = None,
        cache: CacheUse = True,
        timeout: Timeout = None,
        tags: str | Sequence[str] = (),
        user: str | None = None,
        progress: Progress = None,
        **settings: Any,
    ) -> Generator[bytes, None, None]:
        """Yield the audio as it comes: bytes of one file, which plays when it has ended. Otherwise as `synthesize`.

        A wav says in its header that its length is not known yet. A text whose audio breaks off raises; it never ends
        early.
        """
        ask = Ask(text, voice, model, cache, timeout, tags, user, progress, settings)
        return iterate(along(self._texts(ask, streaming=True), self._house))

    def astream(
        self,
        text: str,
        voice: str | None = None,
        *,
        model: str | None = None,
        cache: CacheUse = True,
        timeout: Timeout = None,
        tags: str | Sequence[str] = (),
        user: str | None = None,
        progress: Progress = None,
        **settings: Any,
    ) -> AsyncGenerator[bytes, None]:
        """See `stream`."""
        ask = Ask(text, voice, model, cache, timeout, tags, user, progress, settings)
        return aiterate(along(self._texts(ask, streaming=True), self._house))

    def traits(
        self, voice: str | None = None, *, model: str | None = None, **settings: Any
    ) -> VoiceTraits | None:
        """Return what `synthesize` with these settings will be, without asking anybody; None where nobody can tell.

        Raises:
            BadRequest: A setting does not fit.
        """
        speaks = None if voice is None else text(voice, "voice")
        return run(traits_of(self._opener(None), speaks, frozen(checked_settings(settings, model))))

    # -- the voices themselves

    def list_voices(self) -> list[VoiceInfo]:
        """Return every voice on offer."""
        return list(run(self._voices.told("list_voices")))

    async def alist_voices(self) -> list[VoiceInfo]:
        """See `list_voices`."""
        return list(await arun(self._voices.told("list_voices")))

    def search_voices(
        self, query: str | None = None, *, limit: int = 100, after: str | None = None, **filters: Any
    ) -> VoicePage:
        """Return one page of the voices that fit; of a provider that cannot search, of those that it lists.

        Args:
            query: Words; None for all voices.
            limit: Most voices of one page.
            after: `VoicePage.next` of the page before.
            filters: `language`, and what else the provider knows or labels its voices with; another is a `BadRequest`.
        """
        return run(self._voices.search(query, limit, after, filters))

    async def asearch_voices(
        self, query: str | None = None, *, limit: int = 100, after: str | None = None, **filters: Any
    ) -> VoicePage:
        """See `search_voices`."""
        return await arun(self._voices.search(query, limit, after, filters))

    def get_voice_info(self, voice_id: str) -> VoiceInfo:
        """Return one voice, or raise `VoiceNotFound`."""
        return run(self._voices.info(voice_id))

    async def aget_voice_info(self, voice_id: str) -> VoiceInfo:
        """See `get_voice_info`."""
        return await arun(self._voices.info(voice_id))

    def models(self) -> list[VoiceModel]:
        """Return the models that speak, with the longest text that each takes in one request."""
        return list(run(self._voices.told("list_voice_models")))

    async def amodels(self) -> list[VoiceModel]:
        """See `models`."""
        return list(await arun(self._voices.told("list_voice_models")))

    def clone_voice(
        self,
        name: str,
        samples: Sequence[bytes],
        *,
        consent: str,
        description: str = "",
        labels: Mapping[str, str] | None = None,
    ) -> VoiceInfo:
        """Make a voice from recordings of a person; see `VoiceCloningProvider.clone_voice`.

        Raises:
            VoiceError: There is no consent or no recording; nothing was sent.
            PluginError: The provider cannot clone.
        """
        return run(self._voices.clone(name, samples, consent, description, labels))

    async def aclone_voice(
        self,
        name: str,
        samples: Sequence[bytes],
        *,
        consent: str,
        description: str = "",
        labels: Mapping[str, str] | None = None,
    ) -> VoiceInfo:
        """See `clone_voice`."""
        return await arun(self._voices.clone(name, samples, consent, description, labels))

    def delete_voice(self, voice_id: str) -> bool:
        """Delete a cloned voice; return whether there was one."""
        return run(self._voices.delete(voice_id))

    async def adelete_voice(self, voice_id: str) -> bool:
        """See `delete_voice`."""
        return await arun(self._voices.delete(voice_id))

    # -- once for both colours

    def _texts(self, ask: Ask, *, streaming: bool = False, timed: bool = False) -> list[TextCall]:
        """Check everything that can be checked before anything is sent; return the text for each provider in turn."""
        ask = checked(ask)
        allowed = self._house.policy.deadline_s if ask.timeout is None else seconds(ask.timeout, "timeout")
        deadline = Deadline(allowed)
        texts = []
        for name in (None, *self._fallback):
            own = name is None
            texts.append(
                TextCall(
                    backend=self._opener(name),
                    ask=ask,
                    voice=ask.voice if own else None,
                    settings=ask.settings if own else _shared(ask.settings),
                    deadline=deadline,
                    streaming=streaming,
                    timed=timed,
                )
            )
        return texts


def _shared(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of *settings* that another provider understands: a vendor's name of a format by its first part."""
    kept = {name: value for name, value in settings.items() if name in SHARED_SETTINGS}
    if isinstance(kept.get("format"), str):
        kept["format"] = kept["format"].partition("_")[0]
    return kept
