"""The backends that come with the host: llm `echo`, cache `memory`, cache `file`."""
