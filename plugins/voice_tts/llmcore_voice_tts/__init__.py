"""ElevenLabs voices for llmcore: speech, streams, timestamps, voice search and cloning."""
