"""`/`: the page, a client of this API that runs in the browser.

These routes send what was built from server/ui, the same for everybody and without a key. The page
gets its data from the API, with the user's key. Nothing of it is generated here, and by the policy
below nothing but its own files may run in it, whatever a model writes.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, Response

from agentlm.errors import NotFoundError

router = APIRouter(include_in_schema=False)

BUILT = Path(__file__).resolve().parents[1] / "ui" / "dist"

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "vary": "accept-encoding",
}
_ANEW = {"cache-control": "no-cache"}
_FOR_GOOD = {"cache-control": "public, max-age=31536000, immutable"}
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}

_NOT_BUILT = """<!doctype html><html lang="en"><meta charset="utf-8"><title>AgentLM</title>
<h1>AgentLM</h1>
<p>The server runs; its page was not built. In a checkout <code>make page</code> builds it (with
Node, from a package index) and says what it lacks; a wheel brings it built.</p>
<p>The API is at <code>/v1</code>; <a href="/docs">/docs</a> describes it.</p></html>
"""


@router.get("/")
async def page(request: Request) -> Response:
    """The page itself. It is fetched anew each time, because it names the files of its build."""
    if not await asyncio.to_thread((BUILT / "index.html").is_file):
        return HTMLResponse(_NOT_BUILT, headers=_HEADERS | _ANEW)
    return await asyncio.to_thread(_file, BUILT / "index.html", "text/html", _ANEW, request)


@router.get("/assets/{name}")
async def asset(name: str, request: Request) -> Response:
    """A file of the page. Its name contains its digest, so it never changes."""
    files = await asyncio.to_thread(lambda: {file.name: file for file in _assets()})
    if name not in files:
        raise NotFoundError(f"the page has no file {name[:128]!r}")
    kind = _TYPES[files[name].suffix]
    return await asyncio.to_thread(_file, files[name], kind, _FOR_GOOD, request)


def _assets() -> list[Path]:
    return [file for file in (BUILT / "assets").glob("*") if file.suffix in _TYPES]


def _file(file: Path, kind: str, caching: dict[str, str], request: Request) -> FileResponse:
    """A file; if the browser accepts it, in the compressed form that the build left beside it."""
    headers = _HEADERS | caching
    packed = file.with_name(f"{file.name}.gz")
    if "gzip" in request.headers.get("accept-encoding", "") and packed.is_file():
        headers["content-encoding"], file = "gzip", packed
    return FileResponse(file, media_type=f"{kind}; charset=utf-8", headers=headers)
