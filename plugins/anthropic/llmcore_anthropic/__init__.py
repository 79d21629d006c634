"""The llmcore plugin for Anthropic. Applications do not import it: `provider = "anthropic"` selects it."""
