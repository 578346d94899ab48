"""state build, state apply, replay."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from storage.options import LOCAL
from trainer.base.errors import TrainerError, require_extra
from trainer.base.progress import ticking
from trainer.cli import skewing
from trainer.cli.common import Json, Manifest, Mart, Marts, console, out
from trainer.cli.skewing import Allow, Served, SkewOutput

if TYPE_CHECKING:
    from trainer.contract.schema import Contract
    from trainer.serving.online.events import Events
    from trainer.serving.online.features import Online
    from trainer.serving.online.replay import Replay

DEFAULT_TOLERANCE = 3600
state_app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")

STATE = "Where the state lies: `sqlite:FILE`, or `redis://HOST:PORT/0?prefix=NAME`."
StateUrl = Annotated[str, typer.Option("--state", help=STATE)]
EventsPlace = Annotated[
    Path | None,
    typer.Option(
        "--events",
        help="The canonical events: the warehouse's DuckDB file, or Parquet with the columns of stg_events; default: "
        "`data/<dataset>.duckdb` beside the marts.",
        **LOCAL,
    ),
]
Tolerance = Annotated[
    int,
    typer.Option(
        min=0, help="Seconds by which an outcome may come, or a request may ask, behind the newest outcome applied."
    ),
]


@state_app.callback()
def _state() -> None:
    """The state that features at request time are counted from.

    Example: `trainer state build --marts data/marts/movielens --state sqlite:state.sqlite`
    """


def build(
    marts: Marts,
    state: StateUrl,
    events: EventsPlace = None,
    as_of: Annotated[
        str | None,
        typer.Option(help="Only outcomes known before this instant (UTC), such as 2000-12-01 or 2000-12-01T06:30."),
    ] = None,
    tolerance: Tolerance = DEFAULT_TOLERANCE,
    rows: Annotated[
        bool,
        typer.Option(
            "--rows", help="Keep outcomes as whole rows too, for runs that read them (11_sequence). Needs more room."
        ),
    ] = False,
    mart: Mart = None,
    manifest: Manifest = None,
    as_json: Json = False,
) -> None:
    """Make a state for a mart and apply every outcome that is known so far, in the order in which it became known.

    After a kill the same command goes on; what is applied already is skipped.

    Example: `trainer state build --marts data/marts/movielens --state sqlite:state.sqlite`
    """
    require_extra("serving", "`trainer state`")
    from trainer.serving.online.events import Events

    online, contract = _new(marts, mart, manifest, state, tolerance, rows)
    if rows:
        from trainer.serving.online.whole_rows import OfMart

        online.state.whole = OfMart(contract, online.kept, online.columns)
    found = Events.of_mart(contract, events)
    _apply(online, found, _micros(as_of, "--as-of"), contract.n_rows, as_json)


def apply(
    state: StateUrl,
    events: Annotated[
        Path,
        typer.Option(
            "--events",
            help="Events whose outcomes are known, with the columns of stg_events: Parquet, or a DuckDB file.",
            **LOCAL,
        ),
    ],
    as_json: Json = False,
) -> None:
    """Apply the outcomes of a day to a state; each counts once, however often it is given.

    Example: `trainer state apply --state sqlite:state.sqlite --events outcomes/2001-02-03.parquet`
    """
    require_extra("serving", "`trainer state`")
    from trainer.serving.online.events import Events
    from trainer.serving.online.features import Online
    from trainer.serving.online.stores import open_store

    _apply(Online(open_store(state, new=False)), Events(events), None, None, as_json)


def replay(
    marts: Marts,
    state: Annotated[
        str | None, typer.Option("--state", help=f"{STATE} A new one; not with --served.", show_default=False)
    ] = None,
    served: Served = None,
    events: EventsPlace = None,
    allow: Allow = 0.0,
    output: SkewOutput = None,
    mart: Mart = None,
    manifest: Manifest = None,
    as_json: Json = False,
) -> None:
    """Replay the log through the code that serves, and compare every feature of every row with the mart, bit for bit.

    Each outcome is applied when it becomes known, each event's features are asked for at its instant. The state must be
    new; after a kill the same command goes on. Exit code 1 if a value differs.

    With --served nothing is replayed: what a service logged of its answers is compared with the mart. Exit code 1 if a
    feature differs in more than --allow of its rows.

    Example: `trainer replay --marts data/marts/movielens --state sqlite:replay.sqlite`
    """
    require_extra("serving", "`trainer replay`")
    _check_options(state, served, events, allow, output)
    if served is not None:
        skewing.compare(marts, served, allow, output, mart, manifest, as_json)
        return
    from trainer.serving.online.events import Events
    from trainer.serving.online.replay import replay as replay_log

    assert state is not None
    online, contract = _new(marts, mart, manifest, state, DEFAULT_TOLERANCE)
    with ticking("Replaying", contract.n_rows) as tick:
        found = replay_log(online, contract, Events.of_mart(contract, events), tick)
    if as_json:
        typer.echo(json.dumps(found.report()))
    else:
        _show(found)
    if found.mismatches:
        raise typer.Exit(1)


def _check_options(
    state: str | None, served: Path | None, events: Path | None, allow: float, output: Path | None
) -> None:
    """Raises: TrainerError unless the options are those of one of the two comparisons."""
    if (state is None) == (served is None):
        found = "both are given" if state else "neither is given"
        raise TrainerError(
            "Expected --state, to replay the log into a new state, or --served, to compare what a service logged: "
            f"{found}."
        )
    if served is not None and events is not None:
        raise TrainerError("--events belongs to --state: with --served nothing is replayed. Leave it out.")
    if served is None and (allow or output is not None):
        given = "--allow" if allow else "--output"
        raise TrainerError(f"{given} belongs to --served: a replay passes only if no value differs. Leave it out.")


def _check_delay(contract: Contract, tolerance: int) -> None:
    """Raises: TrainerError where no outcome could be kept as a whole row once the state is built."""
    delay = int(contract.variables.get("label_delay") or 0)
    if delay > tolerance:
        raise TrainerError(
            f"--rows needs a --tolerance of at least var label_delay, {delay} s; it is {tolerance}: a whole row has "
            "the features of its event's instant, and the state can go back by the tolerance only."
        )


def _new(
    marts: Path, mart: str | None, manifest: Path | None, state: str, tolerance: int, rows: bool = False
) -> tuple[Online, Contract]:
    from trainer.contract.manifest import compiled_models
    from trainer.contract.read import read_contract
    from trainer.serving.online.features import Online, settings_of
    from trainer.serving.online.state import State
    from trainer.serving.online.stores import open_store

    contract = read_contract(marts, mart, manifest)
    if rows:
        _check_delay(contract, tolerance)
    settings = settings_of(contract, compiled_models(manifest, contract), tolerance, rows)
    store = open_store(state)  # makes a file
    State.create(store, settings)
    online = Online(store)
    for name, reason in online.batch_only.items():
        console.print(f"{name}: batch only, {reason}.", style="yellow", markup=False, soft_wrap=True)
    return online, contract


def _apply(online: Online, events: Events, before: int | None, rows: int | None, as_json: bool) -> None:
    n_read = n_new = 0
    with ticking("Applying", rows or 0) as tick:
        for batch in events.by("known_at", before=before):
            n_read, n_new = n_read + len(batch), n_new + sum(map(online.apply, online.parts(batch)))
            tick(len(batch))
    if as_json:
        typer.echo(json.dumps({"read": n_read, "new": n_new}))
    console.print(f"Applied {n_new:,} outcomes; {n_read - n_new:,} were there already.")


def _micros(instant: str | None, option: str) -> int | None:
    if instant is None:
        return None
    try:
        read = datetime.fromisoformat(instant)
    except ValueError:
        raise TrainerError(f"{option} {instant}: expected an instant such as 2000-12-01 or 2000-12-01T06:30.") from None
    return round((read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp() * 1_000_000)


def _show(found: Replay) -> None:
    table = Table("feature", "rows", "equal", "NULL on one side", "largest difference", "served, expected")
    for name, one in found.features.items():
        if one.rows > one.equal:
            event, served, expected = one.examples[0]
            example = f"{event}: {served}, {expected}"
            numbers = (one.rows, one.equal, one.null_on_one_side)
            table.add_row(name, *(f"{n:,}" for n in numbers), f"{one.largest:.3g}", example)
    if table.rows:
        out.print(table)
    n_equal = sum(one.rows == one.equal for one in found.features.values())
    out.print(
        f"{found.position:,} events replayed: {n_equal} of {len(found.features)} features equal in every row, "
        f"{found.mismatches:,} values differ."
    )
