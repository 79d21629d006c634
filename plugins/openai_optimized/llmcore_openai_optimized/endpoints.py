"""The address and the headers of each kind of request.

The addresses and headers equal those of the vendor's SDK; `tests/test_openai_optimized_endpoints.py` compares them.
The SDK itself is not used, because importing it takes longer than a thousand requests.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from functools import cache
from typing import Final
from urllib.parse import quote

import httpx2

from llmcore_openai_optimized.account import Account
from llmcore_openai_optimized.request import Endpoint

__all__ = ["SDK_VERSION", "Endpoints"]

SDK_VERSION: Final = "3.57.0"
"""The version of the SDK whose addresses and headers these endpoints reproduce."""

_DEPLOYMENTS: Final = frozenset({"/chat/completions", "/embeddings", "/audio/speech"})
"""The paths that, on Azure, follow the name of the deployment."""

_SEGMENT_SAFE: Final = "!$&'()*+,;=:@"
"""Characters that a segment of a path may contain (RFC 3986)."""

_SYSTEMS: Final = {
    "Darwin": "MacOS",
    "FreeBSD": "FreeBSD",
    "Linux": "Linux",
    "OpenBSD": "OpenBSD",
    "Windows": "Windows",
}
_MACHINES: Final = {"aarch64": "arm64", "arm": "arm", "arm64": "arm64", "x86_64": "x64"}


class Endpoints:
    """Makes the endpoints of one account, without the key."""

    def __init__(self, account: Account, headers: Mapping[str, str]) -> None:
        """Parse the address. *headers* of the options replace standard headers of the same name.

        Raises:
            httpx2.InvalidURL: The address is invalid.
        """
        self._account = account
        self._base = httpx2.URL(account.base_url)
        self._headers = {name.lower(): value for name, value in headers.items()}
        name = "authorization" if account.bearer else "api-key"
        self.key_header = None if name in self._headers else name.encode()
        """The name of the header that contains the key; None if the options already set this header."""

    def make(self, method: str, path: str, model: str, content_type: str = "application/json") -> Endpoint:
        """Return an endpoint.

        Args:
            method: GET or POST.
            path: A path below the server's address, with or without a query; or a whole address.
            model: The model. Only addresses at Azure contain it.
            content_type: The type of the body of a POST.
        """
        url = self._make_url(path, model)
        headers = _make_headers(self._account, url) | {"content-type": content_type} | self._headers
        if method == "GET":
            headers.pop("content-type", None)
        return Endpoint(method, url, [(name.encode(), value.encode()) for name, value in headers.items()])

    def _make_url(self, path: str, model: str) -> httpx2.URL:
        azure = self._account.azure_endpoint
        if azure and path in _DEPLOYMENTS and "/deployments" not in self._base.path:
            if model in {".", ".."}:
                raise ValueError("the name of a deployment cannot be . or ..")
            path = f"/deployments/{quote(model, safe=_SEGMENT_SAFE)}{path}"
        url = httpx2.URL(path)
        if url.is_relative_url:
            folder, _, base_query = self._base.raw_path.partition(b"?")
            name, _, query = url.raw_path.partition(b"?")
            queries = b"&".join(filter(None, (query, base_query)))
            raw_path = folder.rstrip(b"/") + b"/" + name.lstrip(b"/") + (queries and b"?" + queries)
            url = self._base.copy_with(raw_path=raw_path)
        return url.copy_merge_params({"api-version": self._account.api_version}) if azure else url


def _make_headers(account: Account, url: httpx2.URL) -> dict[str, str]:
    product = "AzureOpenAI" if account.azure_endpoint else "OpenAI"
    headers = {
        "host": url.netloc.decode("ascii"),
        "accept-encoding": "gzip, deflate",
        "connection": "keep-alive",
        "accept": "application/json",
        "content-type": "application/json",
        "user-agent": f"{product}/Python {SDK_VERSION}",
        **_describe_platform(),
        "x-stainless-async": "false",
    }
    if account.organization:
        headers["openai-organization"] = account.organization
    if account.project:
        headers["openai-project"] = account.project
    return headers


@cache
def _describe_platform() -> Mapping[str, str]:
    machine = platform.machine().lower()
    system = platform.system()
    return {
        "x-stainless-lang": "python",
        "x-stainless-package-version": SDK_VERSION,
        "x-stainless-os": _SYSTEMS.get(system) or f"Other:{platform.platform().lower()}",
        "x-stainless-arch": _MACHINES.get(machine) or ("x32" if sys.maxsize <= 2**32 else f"other:{machine}"),
        "x-stainless-runtime": platform.python_implementation(),
        "x-stainless-runtime-version": platform.python_version(),
    }
