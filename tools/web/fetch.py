"""Fetching a page: where it may lead, what of it is read, and what robots.txt says."""

from __future__ import annotations

from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from agentlm.agent.tool import ToolError
from agentlm.tools.confinement.network import (
    NETWORK_ERRORS,
    AddressRefused,
    PublicTransport,
    Reach,
    is_listed,
    network_host,
)
from agentlm.tools.settings import MEBIBYTE, ToolSettings
from agentlm.tools.web.body import ACCEPTED, BodyRefused, read_body
from agentlm.tools.web.robots import Robots

AGENT = "AgentLM"
_REDIRECTS = 5
_URL_CHARS = 2048

_ROBOTS_BYTES = 512 * 1024


@dataclass(frozen=True, slots=True)
class Fetched:
    """What was read at an address."""

    url: str
    """After redirects."""
    content_type: str
    charset: str | None
    body: bytes
    missing: str
    """Why the body is incomplete, if it is."""


class Fetcher:
    """Fetches public pages. Remembers no cookie and sends no credentials."""

    def __init__(self, settings: ToolSettings) -> None:
        self._settings = settings
        self._reach = Reach(settings.web_private)
        self._client = httpx.AsyncClient(
            transport=PublicTransport(self._reach),
            timeout=httpx.Timeout(settings.tool_timeout_s),
            headers={"user-agent": AGENT, "accept-encoding": ACCEPTED},
            cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
            trust_env=False,
        )
        self._robots = Robots(AGENT, self._robots_file) if settings.web_robots else None

    async def fetch(self, address: str) -> Fetched:
        """The page. Raises ToolError with the reason if it can't be had."""
        try:
            return await self._follow(self._checked(address))
        except AddressRefused as error:
            raise ToolError(f"{error}: only public addresses can be reached") from error
        except BodyRefused as error:
            raise ToolError(f"the page can't be read: {error}") from error
        except (httpx.HTTPError, httpx.InvalidURL, *NETWORK_ERRORS) as error:
            reason = str(error) or type(error).__name__
            raise ToolError(f"the page can't be fetched: {reason}") from error

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def _follow(self, url: httpx.URL) -> Fetched:
        for _ in range(_REDIRECTS + 1):
            if self._robots and not await self._robots.allows(url):
                raise ToolError(
                    f"{network_host(url)} does not want {url.path} to be read by programs"
                )
            async with self._client.stream("GET", url) as response:
                location = response.headers.get("location")
                if not (response.is_redirect and location):
                    return await self._read(response)
                url = self._checked(str(url.join(location)))
        raise ToolError(f"more than {_REDIRECTS} redirects")

    async def _read(self, response: httpx.Response) -> Fetched:
        if not response.is_success:
            status = f"{response.status_code} {response.reason_phrase}"
            raise ToolError(f"{response.url} answered {status}")
        body, missing = await read_body(
            response.aiter_raw(),
            response.headers.get("content-encoding", ""),
            self._settings.web_page_mb * MEBIBYTE,
        )
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        return Fetched(str(response.url), kind, response.charset_encoding, body, missing)

    async def _robots_file(self, url: httpx.URL) -> tuple[int, bytes]:
        """Status and text of robots.txt. Its redirects are not followed: nothing is known then."""
        async with self._client.stream("GET", url) as response:
            encoding = response.headers.get("content-encoding", "")
            body, _ = await read_body(response.aiter_raw(), encoding, _ROBOTS_BYTES)
            return response.status_code, body

    def _checked(self, address: str) -> httpx.URL:
        """The address, if we fetch its kind. Where it leads is checked when we connect."""
        if len(address) > _URL_CHARS:
            raise ToolError(f"the address is longer than {_URL_CHARS} characters")
        try:
            url = httpx.URL(address)
        except (httpx.InvalidURL, UnicodeError, ValueError) as error:
            raise ToolError(f"{address!r} is not an address: {error}") from error
        if url.scheme not in ("http", "https") or not url.raw_host:
            raise ToolError(f"{address!r} is not an http or https address")
        if url.userinfo:
            raise ToolError("an address with a user name or password is not fetched")
        self._check_lists(url)
        return url.copy_with(fragment=None)

    def _check_lists(self, url: httpx.URL) -> None:
        host = network_host(url)
        if is_listed(host, self._settings.web_deny):
            raise ToolError(f"{host} is on the list of hosts that are not fetched")
        if self._settings.web_allow and not is_listed(host, self._settings.web_allow):
            allowed = ", ".join(self._settings.web_allow)
            raise ToolError(f"{host} is not on the list of hosts that are fetched: {allowed}")
        port = url.port or (443 if url.scheme == "https" else 80)
        if port not in self._settings.web_ports:
            raise ToolError(f"port {port} is not one that pages are fetched from")
