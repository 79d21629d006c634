"""Providers for other servers with OpenAI's protocol: ollama, vllm, llama_cpp, lmstudio, openrouter, groq and others."""
