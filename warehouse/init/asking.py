"""What can't be guessed: asked on a terminal, named in one error elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import typer

from warehouse.init.errors import InitError


def is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


@dataclass
class Asker:
    """Collects questions that nobody is there to answer; `stop` raises all of them at once."""

    unanswered: list[str] = field(default_factory=list)

    def ask(
        self, question: str, option: str, candidates: Sequence[tuple[str, str]], check: Callable[[str], str | None]
    ) -> str | None:
        """An answer that passes `check` (which returns what is wrong with it); None where nobody can be asked.

        candidates: values, with what is known of each.
        """
        listed = [f"  {value}{'   ' + about if about else ''}" for value, about in candidates]
        if not is_terminal():
            self.unanswered.append("\n".join([f"{question} Answer with {option}:", *listed]))
            return None
        typer.echo("\n".join(["", question, *listed]), err=True)
        while True:
            answer = str(typer.prompt(option.removeprefix("--").split(" ")[0], err=True)).strip()
            wrong = check(answer)
            if wrong is None:
                return answer
            typer.echo(wrong, err=True)

    def stop(self) -> None:
        """Raises: InitError naming every question without an answer."""
        if self.unanswered:
            raise InitError("Some things can't be told from the files.\n" + "\n".join(self.unanswered))
