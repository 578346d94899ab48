"""Every command on every terminal: no UnicodeEncodeError, the same exit code, JSON that stays JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from storage import home
from storage.home import NoHomeError

ROOT = Path(__file__).parents[2]
TERMINALS = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "cp936": {"PYTHONIOENCODING": "cp936:strict"},
    "the locale C": {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}
COMMANDS = {
    "trainer": (["-m", "trainer", "--help"], 0),
    "trainer, an error": (["-m", "trainer", "evaluate", "--run", "跑/–…"], 2),
    "embeddings": (["-m", "embeddings", "--help"], 0),
    "embeddings models": (["-m", "embeddings", "models"], 0),
    "embeddings, an error": (["-m", "embeddings", "gc", "--marts", "集市"], 2),
    "warehouse.fetch": (["-m", "warehouse.fetch", "--help"], 0),
    "warehouse.fetch, an error": (["-m", "warehouse.fetch", "电影"], 2),
    "warehouse.simulate": (["-m", "warehouse.simulate", "--help"], 0),
}
TEXT = "AUC .7512 – .7600 ± 10 % … → 品 😀 é \udcff"


def run(arguments: list[str], terminal: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON"))}
    return subprocess.run(
        [sys.executable, *arguments], env=plain | {"PYTHONPATH": str(ROOT)} | terminal, capture_output=True, check=False
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_on_a_terminal_that_is_not_utf_8(command: str) -> None:
    arguments, expected = COMMANDS[command]
    for name in ("ascii", "the locale C"):
        done = run(arguments, TERMINALS[name])
        assert done.returncode == expected, (name, done.stderr.decode(errors="replace")[-500:])
        assert b"UnicodeEncodeError" not in done.stderr


@pytest.mark.parametrize("terminal", TERMINALS)
def test_any_text_and_json_on_any_terminal(terminal: str) -> None:
    code = f"""
from storage.terminal import print_anything
print_anything()
import json, sys
from rich.console import Console
text = {TEXT!a}
print(text)
print(json.dumps(text, ensure_ascii=False))
Console().print(text)
Console(stderr=True).print(text)
"""
    done = run(["-c", code], TERMINALS[terminal])
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    encoding = TERMINALS[terminal].get("PYTHONIOENCODING", "ascii").partition(":")[0]
    plain, as_json, *_ = done.stdout.decode(encoding).splitlines()
    assert plain.startswith("AUC .7512 ")
    assert json.loads(as_json)[-4:].startswith("😀") or "\U0001f600" in json.loads(as_json)


def test_a_home_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from embeddings import EmbeddingsError
    from embeddings.catalogue import cache_dir
    from embeddings.model import resolve
    from trainer.base.errors import TrainerError
    from trainer.columns.build import cache_root

    def nowhere(*_: object) -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("FIRST_IMPRESSION_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    monkeypatch.setattr(Path, "expanduser", nowhere)
    with pytest.raises(NoHomeError, match="Set FIRST_IMPRESSION_CACHE"):
        home.user_cache()
    with pytest.raises(EmbeddingsError, match=r"no home directory.*Set FIRST_IMPRESSION_CACHE"):
        cache_dir()
    with pytest.raises(TrainerError, match=r"no home directory.*Set FIRST_IMPRESSION_CACHE"):
        cache_root()
    with pytest.raises(EmbeddingsError, match="Give its path without '~'"):
        resolve("~/model")
    (tmp_path / "file").touch()
    monkeypatch.setenv("FIRST_IMPRESSION_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(TrainerError, match=r"can't be made: Not a directory. Set FIRST_IMPRESSION_CACHE"):
        cache_root()
    monkeypatch.setenv("FIRST_IMPRESSION_CACHE", str(tmp_path / "cache"))
    assert cache_root() == cache_dir() == tmp_path / "cache"
