"""The log of prompts and answers, `[log] content = true`. Nothing imports this package while the log is off."""
