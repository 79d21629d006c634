"""Check, measure and join audio files."""
