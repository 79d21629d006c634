"""llmcore plugin: ElevenLabs' voices, spoken, streamed, timed, searched and cloned."""
