"""The engine `ray` of llmcore."""
