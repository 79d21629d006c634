"""The versions of the libraries that several rows compare with."""

from __future__ import annotations

from typing import Final

__all__ = [
    "AIOCACHE",
    "AIOLIMITER",
    "CACHETOOLS",
    "CASHEWS",
    "DISKCACHE",
    "FSSPEC",
    "LANGCHAIN",
    "LITELLM",
    "OBSTORE",
    "OFFLINE",
    "PORTKEY",
]

AIOCACHE: Final = ("aiocache==0.12.3",)
AIOLIMITER: Final = ("aiolimiter==1.2.1",)
CACHETOOLS: Final = ("cachetools==6.2.2",)
CASHEWS: Final = ("cashews[redis]==7.6.0",)
DISKCACHE: Final = ("diskcache==5.6.3",)
FSSPEC: Final = ("fsspec==2026.9.0",)
LANGCHAIN: Final = ("langchain-openai==1.7.3", "langchain-community==0.4.2")
LITELLM: Final = ("litellm[proxy]==1.106.2", "soundfile", "diskcache==5.6.3")
"""Without the extra `proxy` and soundfile, a cache hit raises."""
OBSTORE: Final = ("obstore==0.12.1",)
OFFLINE: Final = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}
"""Prevents that litellm downloads prices when it is imported."""
PORTKEY: Final = "@portkey-ai/gateway@1.15.2"
"""A package of npm."""
