"""The Containerfile names what is there, copies no data, and its health check tells a service from none."""

import json
import re
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from tests.system.pages import parse, simple_commands
from tests.warehouse.project import ROOT

TEXT = (ROOT / "Containerfile").read_text(encoding="utf-8")


def test_what_is_copied_is_there_and_is_all_that_the_package_needs() -> None:
    copied = [source for line in re.findall(r"^COPY (.+) \S+$", TEXT, re.MULTILINE) for source in line.split()]
    assert all((ROOT / source).exists() for source in copied)
    assert {"trainer", "embeddings", "warehouse", "storage"} <= set(copied)  # the packages of pyproject.toml
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    assert sorted(line[1:] for line in ignored if line.startswith("!")) == sorted(copied)


def test_its_commands_exist() -> None:
    (install,) = re.findall(r"pip install .+?(?= &&)", TEXT)
    (words,) = simple_commands(install)
    parse(words)
    (entry,) = re.findall(r"^ENTRYPOINT (.+)$", TEXT, re.MULTILINE)
    parse([*json.loads(entry), "--run", "r", "--state", "sqlite:s.sqlite"])
    assert TEXT.index("\nUSER serve") < TEXT.index("\nENTRYPOINT")


def test_the_health_check() -> None:
    status = 200

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    (check,) = re.findall(r"^HEALTHCHECK .+ CMD (.+)$", TEXT, re.MULTILINE)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    _, *arguments = (word.replace("8080", str(port)) for word in json.loads(check))

    def healthy() -> bool:
        return subprocess.run([sys.executable, *arguments], capture_output=True).returncode == 0

    assert not healthy()
    with HTTPServer(("127.0.0.1", port), Health) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert healthy()
        status = 503
        assert not healthy()
        server.shutdown()
