"""A headless Chromium, driven over a pipe by its DevTools protocol: what a page looks like where it is really drawn."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Those in a folded part stay as they are until it is opened.
_ALL_DRAWN = """new Promise((done, fail) => { const end = Date.now() + 60000;
(function look() {
  const left = [...document.querySelectorAll("figure.chart:not(.drawn)")].filter(e => e.checkVisibility());
  if (left.length == 0) done();
  else if (Date.now() > end) fail(left.length + " charts not drawn");
  else setTimeout(look, 50); })(); })"""
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find() -> str | None:
    """The path of a Chromium, None where none is installed."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page. `events` holds all that the browser has told since it was opened, as (method, parameters)."""

    def __init__(self, to_browser: int, from_browser: int):
        self._in, self._out = os.fdopen(from_browser, "rb", 0), os.fdopen(to_browser, "wb", 0)
        self._buffer, self._number, self._session = b"", 0, None
        self.events: list[tuple[str, dict[str, Any]]] = []
        page = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command's result. Raises: RuntimeError with what the browser objected to."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        while True:
            found = self._read()
            if found.get("id") == self._number:
                if "error" in found:
                    raise RuntimeError(f"{method}: {found['error']}")
                return found["result"]
            self.events.append((found.get("method", ""), found.get("params", {})))

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            chunk = self._in.read(1 << 20)
            if not chunk:
                raise RuntimeError("The browser has gone.")
            self._buffer += chunk
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def open(self, path: Path, width: int, *, dark: bool = False, medium: str = "screen") -> None:
        """Show a file in a window of this many pixels; returns when it is drawn."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=medium, features=[scheme])
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.ask("new Promise(r => document.readyState == 'complete' ? r() : addEventListener('load', r))")

    def draw(self) -> None:
        """Bring every chart into sight, and wait until its live picture is there."""
        height = self.ask("document.documentElement.scrollHeight")
        width = self.ask("innerWidth")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.ask(_ALL_DRAWN)

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression on the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(f"{expression}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def screenshot(self, path: Path) -> None:
        """A PNG of the whole page, to its end."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def pdf(self, path: Path) -> None:
        """The page as it is printed on A4."""
        found = self.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, preferCSSPageSize=True)
        path.write_bytes(base64.b64decode(found["data"]))


@contextmanager
def browser(program: str) -> Iterator[Browser]:
    """A browser with a fresh profile, which is gone at the end."""
    browser_reads, to_browser = os.pipe()
    from_browser, browser_writes = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:

        def as_3_and_4() -> None:
            """The pipe's ends must have these two numbers in the browser."""
            spare = [os.dup(browser_reads), os.dup(browser_writes)]
            for wanted, fd in zip((3, 4), spare, strict=True):
                os.dup2(fd, wanted)

        process = subprocess.Popen(
            [
                program,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                f"--user-data-dir={profile}",
                "--remote-debugging-pipe",
            ],
            preexec_fn=as_3_and_4,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(browser_reads)
        os.close(browser_writes)
        try:
            yield Browser(to_browser, from_browser)
        finally:
            process.terminate()
            process.wait(30)
