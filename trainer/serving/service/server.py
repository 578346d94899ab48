"""From a run and a state to a service on a port, until it is told to stop."""

from __future__ import annotations

import gc
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn

from trainer.base.errors import TrainerError
from trainer.serving.online.features import Online
from trainer.serving.online.scorer import Scorer
from trainer.serving.online.state import State
from trainer.serving.online.stores import open_store
from trainer.serving.service.app import Options, make_app
from trainer.serving.service.metrics import Metrics
from trainer.serving.service.served import ServedLog
from trainer.serving.service.service import Service

_SWITCH_SECONDS = 0.0005  # the event loop waits no longer for the scoring thread to let it run; Python's 5 ms add up
_STORE_SECONDS = 2.0  # a request waits no longer for the store
_STOPPING_SECONDS = 30  # requests in flight have so long to end
_BACKLOG = 2048


@dataclass(frozen=True)
class Place:
    """Where to listen. port: 0 for any that is free."""

    host: str = "127.0.0.1"
    port: int = 8080

    def listen(self) -> socket.socket:
        """Raises: TrainerError where another program listens there, or the host isn't this machine's."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        try:
            return socket.create_server((self.host, self.port), family=family, backlog=_BACKLOG)
        except (OSError, OverflowError) as error:
            raise TrainerError(
                f"Can't listen on port {self.port} of {self.host} ({error}). Stop what listens there, or name another "
                "with --port or --host."
            ) from None


@dataclass(frozen=True)
class Served:
    """What is served: a run over a state. log: the folder for what was served."""

    run: Path
    state: str
    vectors: Path | None = None
    log: Path | None = None
    options: Options = field(default_factory=Options)


def serve(what: Served, place: Place, say: Callable[[str], None], started: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT, then finish what was begun.

    say: called with each line for the user; started: with the URL, once requests are taken.

    Raises: TrainerError where the run, the state and the place don't do.
    """
    metrics = Metrics()
    store = open_store(what.state, _STORE_SECONDS, new=False)
    batch_only = Online(store).batch_only
    for name, reason in batch_only.items():
        say(f"{name}: batch only, {reason}.")
    metrics.batch_only.set(len(batch_only))
    scorer = Scorer(store, what.run, what.vectors)
    with place.listen() as listening:
        sys.setswitchinterval(_SWITCH_SECONDS)
        log = None if what.log is None else ServedLog(what.log, metrics, say)
        store.work_aside()
        service = Service(scorer, what.run, metrics, log)
        watch = State(open_store(what.state, _STORE_SECONDS, new=False))
        app = make_app(service, watch, metrics, what.options)
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=_STOPPING_SECONDS, lifespan="on"
        )
        server = _Server(config, lambda: started(f"http://{shown}:{port}"))

        def stop(*_: object) -> None:
            server.should_exit = True

        # What the start has made stays: a collection that goes through all of it takes a fifth of a second.
        gc.collect()
        gc.freeze()
        # uvicorn sends itself the signal once more when it has stopped: these handlers take it.
        before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            server.run(sockets=[listening])
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    say("Stopped.")


class _Server(uvicorn.Server):
    """A server that says when it takes requests."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]):
        super().__init__(config)
        self._started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._started()
