"""The llmcore plugin for Anthropic. Applications import nothing of it: `provider = "anthropic"` selects it."""
