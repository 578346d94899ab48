"""The script that draws a page's charts: made by vl-convert once, then kept in the user's cache, for making it takes
two seconds.
"""

from __future__ import annotations

import functools
import hashlib
from contextlib import suppress
from pathlib import Path

from storage import atomic, home
from trainer.report.charts.vega import VERSION


@functools.cache
def bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script. Where there is no cache to write to, it is made anew."""
    import vl_convert  # here: it brings a JavaScript engine

    place = None
    with suppress(home.NoHomeError):
        version = vl_convert.__version__  # type: ignore[attr-defined]  # its stub lacks it
        place = home.user_cache() / "report" / f"vega-{VERSION}-of-vl-convert-{version}.js"
    if place and (kept := _read(place)):
        return kept
    made = vl_convert.javascript_bundle(vl_version=VERSION)  # type: ignore[call-arg]  # its snippet is optional
    script = str(made).replace("</script", "<\\/script")
    if place:
        with suppress(OSError):
            atomic.text(place, f"{_line(script)}\n{script}")
    return script


def _read(place: Path) -> str | None:
    """The script that was kept, unless its first line belongs to another one."""
    with suppress(OSError, UnicodeDecodeError):
        line, _, script = place.read_bytes().decode().partition("\n")
        if line == _line(script):
            return script
    return None


def _line(script: str) -> str:
    return f"// sha256 of what follows: {hashlib.sha256(script.encode()).hexdigest()}"
