"""The voice `espeak` for llmcore."""
