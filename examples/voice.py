"""Speak a text, change one sentence, and pay only for that one. Needs no key: it uses the configured or the offline voice."""

from pathlib import Path

import llmcore
from llmcore.errors import VoiceError

STORY = "It rained for days. Martha left the hotel. Then, one morning, the sun came out."

with llmcore.load() as core:
    voice = core.voice

    speech = voice.synthesize(STORY)
    print(f"{speech.provider}: {speech.duration_s:.1f} s, {speech.characters} characters, {speech.cost} USD")
    print("wrote", speech.save("story.wav"))

    changed = voice.synthesize(STORY.replace("Martha", "Alexander"))
    print("after one change, paid for", changed.billed_characters, "of", changed.characters, "characters")

    with Path("stream.wav").open("wb") as file:
        file.writelines(voice.stream("And as it comes. Piece by piece."))
    print("streamed", Path("stream.wav").stat().st_size, "bytes")

    timed = voice.synthesize_with_timestamps("One, two, three.")
    begins = {character: round(start, 2) for character, start, _ in timed.alignment if character.isupper()}
    print("the first word begins at", begins)

    try:
        voice.synthesize("<speak>never closed")
    except VoiceError as error:
        print("refused:", error.message)
