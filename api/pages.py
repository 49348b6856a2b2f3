"""The page at `/`, and `/docs`: files that a browser loads from here, and from nowhere else."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from fastapi import FastAPI
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from api.gate import content_policy

FILES = Path(__file__).parent / "page"
LIBRARIES = FILES / "lib"
"""What `setup.py` copies of npm's packages."""

_MISSING = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Logwax</title>
<p>The page is not installed: its libraries come by npm while Logwax is installed, and did not.
Install Logwax again where npm's registry can be reached; the end of
<code>pip install --verbose</code> says what failed. The API works without it:
<a href="/openapi.json">openapi.json</a>."""


class _Files(StaticFiles):
    """Files of which a browser asks each time whether they have changed."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(_headers(""))
        return response


def add_pages(app: FastAPI) -> None:
    """Add `/`, `/docs` and what both load, below `/page/`: a sentence if that is missing."""

    @app.get("/", include_in_schema=False)
    def page() -> Response:
        return _page("index.html")

    @app.get("/docs", include_in_schema=False)
    def docs() -> Response:
        return _page("docs.html")

    app.mount("/page", _Files(directory=FILES))


def _page(name: str) -> Response:
    if not LIBRARIES.is_dir():
        return HTMLResponse(_MISSING, 503, _headers(""))
    text = (FILES / name).read_text(encoding="utf-8")
    return HTMLResponse(text, headers=_headers(text))


def _headers(text: str) -> dict[str, str]:
    """What is allowed to this page besides what every answer is: its import map.

    https://www.w3.org/TR/CSP3/#match-element-to-source-list
    """
    maps = re.findall(r'<script type="importmap">(.*?)</script>', text, re.DOTALL)
    hashes = [b64encode(sha256(script.encode()).digest()).decode() for script in maps]
    return {"Content-Security-Policy": content_policy(hashes), "Cache-Control": "no-cache"}
