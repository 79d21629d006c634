"""llmcore plugin: stores files in one folder and writes each file atomically."""
