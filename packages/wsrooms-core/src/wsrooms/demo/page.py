"""The page of the chat, as an ``http_handler``.

Files that a person can read go out as one: style and scripts are put into the
page, so it needs no build step and asks for nothing else. The Content Security
Policy names exactly these by their hash and forbids the rest.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

from wsrooms import WsHttpResponse, WsRequest

__all__ = ["PARTS", "serve_page", "whole_page"]

PARTS = {
    name: files("wsrooms.demo").joinpath(name).read_text("utf-8")
    for name in ("page.html", "page.css", "link.js", "page.js", "input.js")
}


def serve_page(request: WsRequest) -> WsHttpResponse:
    """Answer "/" with the page, and any other path with 404."""
    if request.path != "/":
        return WsHttpResponse(404, f"There is nothing at {request.path}; the chat is at /\n")
    if request.method not in ("GET", "HEAD"):
        return WsHttpResponse(405, "Only GET\n", headers={"Allow": "GET, HEAD"})
    return _page()


@cache
def _page() -> WsHttpResponse:
    html, style, *scripts = PARTS.values()
    return whole_page(html, style, "\n".join(scripts))


def whole_page(html: str, style: str, script: str) -> WsHttpResponse:
    """The page with its style and script in their places, and a policy that allows these."""
    headers = {
        "Content-Security-Policy": "; ".join(
            [
                "default-src 'none'",
                f"style-src '{_hash(style)}'",
                f"script-src '{_hash(script)}'",
                "img-src data:",
                "connect-src 'self'",
                "base-uri 'none'",
                "form-action 'none'",
                "frame-ancestors 'none'",
            ]
        ),
        "Cache-Control": "no-cache",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    page = html.replace("/* page.css */", style).replace("/* page.js */", script)
    return WsHttpResponse(200, page, headers=headers, content_type="text/html; charset=utf-8")


def _hash(text: str) -> str:
    """What the policy calls an inline style or script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
