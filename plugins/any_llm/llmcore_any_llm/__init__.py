"""Every provider of Mozilla's any-llm as a language model of llmcore."""
