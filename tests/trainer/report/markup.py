"""A page's markup, taken apart."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

VOID = {"meta", "br", "link", "img", "path", "use", "line", "wbr"}


class Balanced(HTMLParser):
    """Fails on a tag that is closed without being open; gathers ids and what refers to them."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            self.references |= set(re.findall(r"url\(#([^)]+)\)", value or ""))
            if name.endswith("href"):
                self.references.add((value or "").removeprefix("#"))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def without_scripts(html: str) -> tuple[str, list[tuple[str, str]]]:
    """The page without what is in <script>, and that: (type, text)."""
    found = re.findall(r'<script(?: type="([^"]+)")?>(.*?)</script>', html, re.DOTALL)
    return re.sub(r"<script(?: type=\"[^\"]+\")?>.*?</script>", "", html, flags=re.DOTALL), found


def hashed(text: str) -> str:
    """As a browser hashes what a policy allows."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def drawing(html: str, title: str) -> str:
    return re.search(rf'<svg[^>]*aria-label="{re.escape(title)}".*?</svg>', html, re.DOTALL)[0]
