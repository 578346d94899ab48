"""The Markdown pages as tests see them: fences with their marks, commands, links; and whether a command parses."""

import ast
import re
import shlex
import subprocess
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.warehouse.project import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAMS = ("trainer", "embeddings", "warehouse", "dbt", "make", "pip", "python")
# Shell words that surround our commands on a page about operations; what they do isn't ours to check.
SHELL = {
    "cd",
    "mv",
    "jq",
    "curl",
    "podman",
    "./daily.sh",
    "export",
    "echo",
    "exit",
    "if",
    "then",
    "fi",
    "else",
    "set",
    "tee",
    "source",
}


@dataclass(frozen=True)
class Fence:
    """A fenced block. language: "" for commands, one per line. mark: why no test runs it, by a comment above it."""

    page: Path
    line: int
    language: str
    text: str
    mark: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """The commands that a reader would type or schedule."""
        if self.language == "python":
            return _commands_of(self.text)
        if self.language not in ("", "sh", "cron"):
            return []
        lines = [line.strip() for line in self.text.replace("\\\n", " ").splitlines()]
        lines = [line for line in lines if line and line[0] != "#"]
        return [line.split(maxsplit=5)[5] for line in lines] if self.language == "cron" else lines


def _commands_of(code: str) -> list[str]:
    """The commands in Python code: strings that hold one, and calls with a command's words as their arguments."""
    tree = ast.parse(code)
    constants = {
        node.targets[0].id: node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }

    def text(node: ast.expr) -> str | None:
        match node:
            case ast.Constant(value=str(value)):
                return value
            case ast.Name(id=name):
                return constants.get(name)
            case ast.FormattedValue(value=value):
                return text(value)
            case ast.JoinedStr(values=values):
                parts = [text(value) for value in values]
                return None if None in parts else "".join(parts)
        return None

    found = []
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and node.args
            and (words := [text(one) for one in node.args])
            and None not in words
        ):
            found.append(shlex.join(words))
        elif isinstance(node, ast.Constant | ast.JoinedStr) and (whole := text(node)):
            found.append(whole)
    return [one for one in found if _is_ours(one)]


def _is_ours(text: str) -> bool:
    return bool(re.match(rf"(\S*/bin/)?({'|'.join(PROGRAMS)}) [a-z-]", text))


def fences(page: Path) -> list[Fence]:
    found, lines, n = [], page.read_text(encoding="utf-8").splitlines(), 0
    while n < len(lines):
        opened = re.match(r"( *)```(\S*)$", lines[n])
        if opened:
            end = next(k for k in range(n + 1, len(lines)) if lines[k].strip() == "```")
            above = next((line for line in reversed(lines[:n]) if line.strip()), "")
            mark = re.fullmatch(r" *<!-- not run: (.+) -->", above)
            body = "\n".join(line.removeprefix(opened[1]) for line in lines[n + 1 : end])
            found.append(Fence(page, n + 1, opened[2], body, mark[1] if mark else ""))
            n = end
        n += 1
    return found


def prose(page: Path) -> str:
    """The page without its fences."""
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def inline_commands(page: Path) -> list[str]:
    """Whole commands in backticks; one with a hole (`<run>`, `...`) can't be parsed and doesn't count."""
    spans = re.findall(r"`([^`\n]+)`", prose(page))
    return [span for span in spans if _is_ours(span) and not re.search(r"\.\.\.|[<>|]", span)]


def links(page: Path) -> list[str]:
    return [t for t in re.findall(r"\]\(([^)\s]+)\)", prose(page)) if not re.match(r"[a-z]+:", t)]


def anchors(page: Path) -> set[str]:
    """What `#...` may name: the headings, spelt as GitHub and GitLab spell them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def simple_commands(line: str) -> list[list[str]]:
    """A shell line taken apart at `&&`, `||`, `|` and `;`; without redirections, VAR=value, and folders of programs."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
    lexer.whitespace_split = True
    parts: list[list[str]] = [[]]
    words = iter(lexer)
    for word in words:
        if re.fullmatch(r"[&|;]+", word):
            parts.append([])
        elif re.fullmatch(r"[<>]+&?", word):
            next(words)
            if parts[-1][-1:] in (["1"], ["2"]):
                parts[-1].pop()  # the 2 of `2>`
        else:
            parts[-1].append(word)
    out = []
    for part in parts:
        while part and re.fullmatch(r"[A-Z_]+=.*", part[0]):
            part = part[1:]
        if part[:1] == ["torchrun"]:  # torchrun OPTIONS -m -- MODULE
            part = part[part.index("--") + 1 :]
        if part[:1] == ["flock"]:  # flock [-n] FILE COMMAND
            part = [word for word in part[1:] if word != "-n"][1:]
        if part:
            out.append([re.sub(r".*/bin/", "", part[0]), *part[1:]])
    return out


def parse(words: list[str], complete: bool = True) -> None:
    """Parse one command as its program would. `complete`: a required argument must be there.

    Raises: AssertionError with the program's own message.
    """
    program, *arguments = words
    if words[:2] == ["python", "-m"]:
        program, arguments = " ".join(words[:3]), words[3:]
    match program:
        case "trainer" | "embeddings" | "warehouse" | "dbt":
            options = _parse_click(program, arguments, complete)
            _check_values(options)
        case "make":
            done = subprocess.run(["make", "-n", *arguments], cwd=ROOT, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        case "pip":
            wanted = {extra for word in arguments for extra in re.findall(r"\[(.+)\]", word)}
            extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
            unknown = {name for group in wanted for name in group.split(",")} - set(extras)
            assert not unknown, f"no such extra: {unknown}"
        case "python":
            assert (ROOT / arguments[0]).is_file(), f"no such file: {arguments[0]}"
        case _ if program.startswith("python -m "):
            module = program.split()[2].replace(".", "/")
            assert (ROOT / f"{module}.py").is_file(), f"no such module: {module}"
        case _:
            assert program in SHELL, f"{program} is no program of this project"


def app_of(program: str) -> Any:
    """The typer app behind one of our own programs."""
    match program:
        case "trainer":
            from trainer.cli import app
        case "embeddings":
            from embeddings.cli import app
        case "warehouse":
            from warehouse.cli import app
        case _:
            raise AssertionError(f"{program} can't be run in a test of the pages: mark its fence `not run`")
    return app


@cache
def command_of(program: str) -> Any:
    """The click command behind a program."""
    if program == "dbt":
        from dbt.cli.main import cli

        return cli
    from typer.main import get_command

    return get_command(app_of(program))


def _parse_click(program: str, arguments: list[str], complete: bool) -> dict[str, Any]:
    command, context, found, rest = command_of(program), None, {}, []
    while True:
        try:
            if context is not None:
                program, command, arguments = command.resolve_command(context, rest)
            context = command.make_context(program, list(arguments), parent=context)
        except Exception as error:  # typer brings a click of its own, so there are two families of errors
            if not complete and type(error).__name__ in ("MissingParameter", "NoArgsIsHelpError"):
                return found
            raise AssertionError(f"{type(error).__name__}: {getattr(error, 'message', error)}") from None
        found |= context.params
        rest = [*getattr(context, "_protected_args", ()), *context.args]
        if not hasattr(command, "commands") or not rest:
            return found


def _check_values(options: dict[str, Any]) -> None:
    """Values that a parser takes for text: dbt's vars, and stages."""
    unknown = set(options.get("vars") or {}) - known_vars()
    assert not unknown, f"no such var: {sorted(unknown)}"
    named = options.get("stages") or [options["stage"]] if options.get("stage") or options.get("stages") else []
    for stage in (one for name in named for one in name.split(",")):
        assert (ROOT / stage).is_file() or (ROOT / "trainer/stages" / f"{stage}.yaml").is_file(), f"no stage {stage}"


@cache
def known_vars() -> frozenset[str]:
    """The vars that the warehouse reads: those of dbt_project.yml, of a log's block, and those that SQL reads."""
    declared = yaml.safe_load((ROOT / "dbt_project.yml").read_text())["vars"]
    sql = "".join(path.read_text() for path in (ROOT / "warehouse").rglob("*.sql"))
    asked = re.findall(r"(?:var|dataset_var)\('(\w+)'", sql)
    return frozenset({*declared, *asked, *(key for block in declared["datasets"].values() for key in block)})


def run_in_process(words: list[str]) -> tuple[int, str]:
    """Run one of our own commands in this process, in the current folder: exit code and output.

    dbt's flags are put back: they name the project of the last command, and paths of later tests would begin there.
    """
    from dbt.flags import get_flags, set_flags
    from typer.testing import CliRunner

    program, *arguments = words
    flags = get_flags()
    try:
        result = CliRunner().invoke(app_of(program), arguments)
    finally:
        set_flags(flags)
    return result.exit_code, result.output if result.exception is None else f"{result.output}\n{result.exception!r}"
