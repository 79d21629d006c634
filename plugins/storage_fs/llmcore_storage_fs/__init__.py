"""llmcore plugin: files under one folder, written whole or not at all."""
