"""Servers that speak OpenAI's protocol, each under its own name: ollama, vllm, llama_cpp, lmstudio, openrouter, groq and others."""
