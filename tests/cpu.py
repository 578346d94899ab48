"""What each test file costs, in CPU seconds of all its processes: `python -m pytest -p tests.cpu FILE...`, without -n.

On a machine that does other work, too, they say more than wall seconds.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator

import psutil
import pytest

_seconds: Counter[str] = Counter()


def _used() -> float:
    """CPU seconds so far of this process, of those below it, and of those that they have waited for."""
    me, total = psutil.Process(), 0.0
    for process in (me, *me.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    before = _used()
    try:
        return (yield)
    finally:
        _seconds[item.nodeid.partition("::")[0]] += _used() - before


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.section("CPU seconds")
    for name, seconds in _seconds.most_common():
        terminalreporter.write_line(f"{seconds:8.1f} {name}")
