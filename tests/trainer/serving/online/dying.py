"""`trainer` that dies by SIGKILL at a step: inside a transaction of the store, or just after one."""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any


def main() -> None:
    """`dying_trainer STEP COMMAND...`, in a child of tests/forkserver.py."""
    from trainer.cli import main as trainer
    from trainer.serving.online import events, stores

    left, update = int(sys.argv.pop(1)), stores.SQLiteStore.update
    events._BATCH = 100

    def step() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def dying(self: Any, keys: Any, change: Callable[[Any], Any]) -> None:
        update(self, keys, lambda blobs: (change(blobs), step())[0])
        step()

    stores.SQLiteStore.update = dying
    trainer()
