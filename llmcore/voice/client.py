"""The client for voices that an application calls."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeAlias, TypeVar, Unpack

from llmcore.calls.arguments import CacheUse, parse_seconds
from llmcore.calls.backend import Backend
from llmcore.calls.deadline import Deadline
from llmcore.calls.drivers import aiterate, arun, iterate, run
from llmcore.calls.public_call import PUBLIC_CALL
from llmcore.calls.steps import Act
from llmcore.pipeline import Services
from llmcore.pipeline.measurement import Measurement
from llmcore.process_bound import ProcessBound
from llmcore.threads import TIME_LEFT
from llmcore.types import Speech, VoiceInfo, VoiceModel, VoicePage, VoiceTraits
from llmcore.voice.catalogue import Voices
from llmcore.voice.fallback import with_fallback
from llmcore.voice.options import SpeechOptions, SpeechSettings
from llmcore.voice.pieces import get_traits
from llmcore.voice.recordings import Recording
from llmcore.voice.request import SHARED_SETTINGS, Ask, check_arguments, check_settings, check_voice
from llmcore.voice.text_call import TextCall

__all__ = ["VoiceClient"]

M = TypeVar("M", bound=Callable[..., Any])
Progress: TypeAlias = Callable[[int, int], object] | None
Timeout: TypeAlias = float | str | timedelta | None


def _check_consent_later(method: M) -> M:
    """Make `consent=` optional at run time, so that a missing consent raises an error that explains the argument.

    Type checkers still require the argument.
    """
    plain: Any = method
    plain.__kwdefaults__ = {**(plain.__kwdefaults__ or {}), "consent": ""}
    return method


class VoiceClient(ProcessBound):
    """Synthesizes speech with the configured voice. Each method has an async version with the prefix `a`."""

    def __init__(
        self,
        opener: Callable[[str | None], Backend],
        fallback: Sequence[str],
        services: Services,
        *,
        namespace: str = "",
    ) -> None:
        """Create the client.

        Args:
            opener: A function that takes the name of a provider and returns its backend. The name None means the
                configured provider.
            fallback: The providers that are tried in order if the configured provider fails.
            services: The services of the Core.
            namespace: The namespace of the cache keys.
        """
        self._opener = opener
        self._fallback = tuple(fallback)
        self._services = services
        self._namespace = namespace
        self._voices = Voices(lambda: opener(None), services.policy)

    def synthesize(
        self,
        text: str,
        voice: str | None = None,
        stability: float | None = None,
        similarity_boost: float | None = None,
        *,
        model: str | None = None,
        cache: CacheUse = True,
        timeout: Timeout = None,
        tags: str | Sequence[str] = (),
        user: str | None = None,
        progress: Progress = None,
        **settings: Unpack[SpeechSettings],
    ) -> Speech:
        """Return *text* as speech. The text may have any length.

        With the cache, each sentence is requested and cached separately. Without the cache, each request is
        as long as the model allows.

        Args:
            text: The text; SSML if the provider supports it.
            voice: A voice id of the provider; None means the configured voice. `voice_id=` is another name of
                this argument.
            stability: A setting of some providers, between 0 and 1; None means the voice's default.
            similarity_boost: Another setting with the same range and default.
            model: A model of the provider; None means the configured model.
            cache: True, False, or "refresh" to request the speech again and cache it.
            timeout: Seconds for the whole text, or "30s"; replaces the configured deadline.
            tags: Recorded in the ledger.
            user: Recorded in the ledger.
            progress: A function that is called after each piece with two numbers: the finished characters and
                all characters.
            settings: The provider's own settings; see `SpeechOptions`. `format`, `speed` and `language` mean
                the same to every provider.

        Raises:
            VoiceError: The text cannot be spoken (nothing was sent), the voice is unknown, or the answer is
                not playable audio.
            BadRequest: A setting is not valid; nothing was sent.
            ProviderError: The backend refused the request, or failed in every configured attempt. Finished
                pieces stay in the cache.
        """
        with PUBLIC_CALL:
            tuned = {"stability": stability, "similarity_boost": similarity_boost}
            ask = Ask(text, voice, model, cache, timeout, tags, user, progress, {**settings, **tuned})
            return run(with_fallback(self._make_texts(ask), self._services))

    async def asynthesize(
        self,
        text: str,
        voice: str | None = None,
        stability: float | None = None,
        similarity_boost: float | None = None,
        *,
        model: str | None = None,
        cache: CacheUse = True,
        timeout: Timeout = None,  # noqa: ASYNC109 - llmcore applies the timeout, to all attempts together
        tags: str | Sequence[str] = (),
        user: str | None = None,
        progress: Progress = None,
        **settings: Unpack[SpeechSettings],
    ) -> Speech:
        """See `synthesize`."""
        with PUBLIC_CALL:
            tuned = {"stability": stability, "similarity_boost": similarity_boost}
            ask = Ask(text, voice, model, cache, timeout, tags, user, progress, {**settings, **tuned})
            return await arun(with_fallback(self._make_texts(ask), self._services))

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
        **settings: Unpack[SpeechOptions],
    ) -> Speech:
        """Return *text* as speech, with the times of its characters in `Speech.alignment`.

        Apart from that, the method works like `synthesize`.

        Raises:
            PluginError: The provider has no timestamps.
        """
        with PUBLIC_CALL:
            ask = Ask(text, voice, model, cache, timeout, tags, user, progress, settings)
            return run(with_fallback(self._make_texts(ask, timed=True), self._services))

    async def asynthesize_with_timestamps(
        self,
        text: str,
        voice: str | None = None,
        *,
        model: str | None = None,
        cache: CacheUse = True,
        timeout: Timeout = None,  # noqa: ASYNC109 - llmcore applies the timeout, to all attempts together
        tags: str | Sequence[str] = (),
        user: str | None = None,
        progress: Progress = None,
        **settings: Unpack[SpeechOptions],
    ) -> Speech:
        """See `synthesize_with_timestamps`."""
        with PUBLIC_CALL:
            ask = Ask(text, voice, model, cache, timeout, tags, user, progress, settings)
            return await arun(with_fallback(self._make_texts(ask, timed=True), self._services))

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
        **settings: Unpack[SpeechOptions],
    ) -> Generator[bytes, None, None]:
        """Yield the bytes of one audio file as they arrive.

        Apart from that, the method works like `synthesize`. The header of a WAV declares an unknown length.
        If the audio breaks off, an error is raised; the stream never ends early without an error.
        """
        with PUBLIC_CALL:
            ask = Ask(text, voice, model, cache, timeout, tags, user, progress, settings)
            return iterate(with_fallback(self._make_texts(ask, streaming=True), self._services))

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
        **settings: Unpack[SpeechOptions],
    ) -> AsyncGenerator[bytes, None]:
        """See `stream`."""
        with PUBLIC_CALL:
            ask = Ask(text, voice, model, cache, timeout, tags, user, progress, settings)
            return aiterate(with_fallback(self._make_texts(ask, streaming=True), self._services))

    def traits(
        self, voice: str | None = None, *, model: str | None = None, **settings: Unpack[SpeechOptions]
    ) -> VoiceTraits | None:
        """Return the traits of the speech that `synthesize` would return; None if unknown. Nothing is sent.

        Raises:
            BadRequest: A setting is not valid.
        """
        with PUBLIC_CALL:
            voice, others = check_voice(voice, settings)
            return run(get_traits(self._opener(None), voice, check_settings(others, model)))

    # -- voices

    def list_voices(self) -> list[VoiceInfo]:
        """Return all voices."""
        with PUBLIC_CALL:
            return list(run(self._voices.call("list_voices")))

    async def alist_voices(self) -> list[VoiceInfo]:
        """See `list_voices`."""
        with PUBLIC_CALL:
            return list(await arun(self._voices.call("list_voices")))

    def search_voices(
        self, query: str | None = None, *, limit: int = 100, after: str | None = None, **filters: Any
    ) -> VoicePage:
        """Return one page of the matching voices.

        If the provider cannot search, llmcore searches the listed voices.

        Args:
            query: Words in the name, description or labels of a voice. If None, every voice matches.
            limit: Maximum number of voices on the page.
            after: `VoicePage.next` of the previous page.
            filters: `language`, and labels of the provider's voices; an unknown filter raises `BadRequest`.
        """
        with PUBLIC_CALL:
            return run(self._voices.search(query, limit, after, filters))

    async def asearch_voices(
        self, query: str | None = None, *, limit: int = 100, after: str | None = None, **filters: Any
    ) -> VoicePage:
        """See `search_voices`."""
        with PUBLIC_CALL:
            return await arun(self._voices.search(query, limit, after, filters))

    def get_voice_info(self, voice_id: str) -> VoiceInfo:
        """Return one voice, or raise `VoiceNotFound`."""
        with PUBLIC_CALL:
            return run(self._voices.get_info(voice_id))

    async def aget_voice_info(self, voice_id: str) -> VoiceInfo:
        """See `get_voice_info`."""
        with PUBLIC_CALL:
            return await arun(self._voices.get_info(voice_id))

    def models(self) -> list[VoiceModel]:
        """Return the speech models, with the maximum text length of one request."""
        with PUBLIC_CALL:
            return list(run(self._voices.call("list_voice_models")))

    async def amodels(self) -> list[VoiceModel]:
        """See `models`."""
        with PUBLIC_CALL:
            return list(await arun(self._voices.call("list_voice_models")))

    @_check_consent_later
    def clone_voice(
        self,
        name: str,
        audio_files: Sequence[Recording],
        description: str | None = None,
        *,
        consent: str,
        labels: Mapping[str, str] | None = None,
    ) -> VoiceInfo:
        """Clone a voice from recordings of a person; see `VoiceCloningProvider.clone_voice`.

        Args:
            name: The name of the new voice.
            audio_files: Recordings, each a whole audio file: its path or its bytes.
            description: A description that the provider shows.
            consent: The speaker's consent in words, or the place where it is documented.
            labels: Labels of the voice, such as {"accent": "Irish"}.

        Raises:
            VoiceError: The consent is empty, or a recording is missing or cannot be read; nothing was sent.
            PluginError: The provider cannot clone.
        """
        with PUBLIC_CALL:
            return run(self._voices.clone(name, audio_files, consent, description, labels))

    @_check_consent_later
    async def aclone_voice(
        self,
        name: str,
        audio_files: Sequence[Recording],
        description: str | None = None,
        *,
        consent: str,
        labels: Mapping[str, str] | None = None,
    ) -> VoiceInfo:
        """See `clone_voice`."""
        with PUBLIC_CALL:
            return await arun(self._voices.clone(name, audio_files, consent, description, labels))

    def delete_voice(self, voice_id: str) -> bool:
        """Delete a cloned voice; return whether the voice existed."""
        with PUBLIC_CALL:
            return run(self._voices.delete(voice_id))

    async def adelete_voice(self, voice_id: str) -> bool:
        """See `delete_voice`."""
        with PUBLIC_CALL:
            return await arun(self._voices.delete(voice_id))

    # -- shared by sync and async

    def measure(self, text: str, **settings: Any) -> Act[Measurement]:
        """Return the size of the requests for *text*, from which a batch estimates its cost."""
        from llmcore.voice.measurement import measure_speech  # imported here, because speech does not need it

        take = settings.pop
        ask = Ask(text, take("voice", None), take("model", None), True, None, (), None, None, settings)  # noqa: FBT003 - True is the argument `cache`
        return measure_speech(self._make_texts(ask)[0], self._services)

    def _make_texts(self, ask: Ask, *, streaming: bool = False, timed: bool = False) -> list[TextCall]:
        """Check the arguments, and return one call for each provider to try."""
        ask = check_arguments(ask)
        allowed = (
            self._services.policy.deadline_s if ask.timeout is None else parse_seconds(ask.timeout, "timeout")
        )
        deadline = Deadline(allowed)
        texts = []
        for name in (None, *self._fallback):
            own = name is None
            token = TIME_LEFT.set(deadline.get_time_left)
            try:
                backend = self._opener(name)
            finally:
                TIME_LEFT.reset(token)
            backend.limit_creation(deadline.get_time_left)
            texts.append(
                TextCall(
                    backend=backend,
                    ask=ask,
                    voice=ask.voice if own else None,
                    settings=dict(ask.settings) if own else _select_shared(ask.settings),
                    deadline=deadline,
                    streaming=streaming,
                    timed=timed,
                    namespace=self._namespace,
                )
            )
        return texts


def _select_shared(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the *settings* that every provider understands.

    A vendor's format such as `mp3_44100_128` becomes `mp3`.
    """
    kept = {name: value for name, value in settings.items() if name in SHARED_SETTINGS}
    if isinstance(kept.get("format"), str):
        kept["format"] = kept["format"].partition("_")[0]
    return kept
