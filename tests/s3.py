"""An S3 server on loopback (moto's), and a proxy before it that can be slow, fail, or act between two requests."""

from __future__ import annotations

import http.client
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.request import Request, urlopen

import pytest

BUCKET = "warehouse"
DROP = "drop"  # the connection ends after half of the answer
Fault = Callable[[str, str], "float | str | int | None"]


@dataclass
class S3:
    """A running server with one bucket. url: of the proxy. key, secret: of a user who may do everything."""

    upstream: str
    url: str
    key: str
    secret: str
    proxy: Any
    client: Any = field(repr=False)

    def put(self, folder: Path, key: str) -> None:
        """Copy a local folder, or a file."""
        for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
            if path.is_file():
                name = f"{key}/{path.relative_to(folder).as_posix()}" if folder.is_dir() else key
                self.client.put_object(Bucket=BUCKET, Key=name, Body=path.read_bytes())

    def keys(self, prefix: str = "") -> list[str]:
        found = self.client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        return sorted(one["Key"] for one in found)

    def read(self, key: str) -> bytes:
        return self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=BUCKET, Key=key)

    def empty(self) -> None:
        for key in self.keys():
            self.delete(key)

    @contextmanager
    def faulty(self, fault: Fault) -> Iterator[list[tuple[str, str]]]:
        """Ask `fault(method, path)` of each request: seconds to wait, a status to answer, DROP, or None.

        Yields the requests, a list that grows.
        """
        self.proxy.fault, self.proxy.seen = fault, []
        try:
            yield self.proxy.seen
        finally:
            self.proxy.fault = None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def _pass_on(self) -> None:
        server: Any = self.server
        body = self._body()
        server.seen.append((self.command, self.path))
        fault = server.fault(self.command, self.path) if server.fault else None
        if isinstance(fault, float):
            time.sleep(fault)
        if isinstance(fault, int):
            self._answer(fault, [], b"")
            return
        upstream = http.client.HTTPConnection(server.upstream, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "transfer-encoding"}
        upstream.request(self.command, self.path, body, headers)
        found = upstream.getresponse()
        self._answer(found.status, found.getheaders(), found.read(), drop=fault == DROP)
        upstream.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on

    def _body(self) -> bytes:
        if self.headers.get("Expect", "").lower() == "100-continue":
            pass  # http.server has answered it
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline() not in (b"\r\n", b""):
                pass
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, drop: bool = False) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        of_head = next((value for name, value in headers if name.lower() == "content-length"), None)
        self.send_header("Content-Length", of_head if self.command == "HEAD" and of_head else str(len(body)))
        self.end_headers()
        if drop:
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
        elif self.command != "HEAD":
            self.wfile.write(body)


def start() -> Iterator[S3]:
    """The server with its proxy, and every request's signature checked."""
    import boto3  # with moto, a second to import
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    upstream = f"http://{host}:{port}"

    def client(service: str, key: str = "root", secret: str = "root") -> Any:
        return boto3.client(
            service,
            endpoint_url=upstream,
            region_name="us-east-1",
            aws_access_key_id=key,
            aws_secret_access_key=secret,
        )

    iam, everything = client("iam"), {"Effect": "Allow", "Action": "*", "Resource": "*"}
    iam.create_user(UserName="trainer")
    policy = json.dumps({"Version": "2012-10-17", "Statement": [everything]})
    iam.put_user_policy(UserName="trainer", PolicyName="all", PolicyDocument=policy)
    keys = iam.create_access_key(UserName="trainer")["AccessKey"]
    plain = {"Content-Type": "text/plain"}
    urlopen(Request(f"{upstream}/moto-api/reset-auth", b"0", plain)).close()  # from here on, keys are checked
    proxy: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    proxy.upstream, proxy.fault, proxy.seen = f"{host}:{port}", None, []
    Thread(target=proxy.serve_forever, daemon=True).start()
    key, secret = keys["AccessKeyId"], keys["SecretAccessKey"]
    s3 = client("s3", key, secret)
    s3.create_bucket(Bucket=BUCKET)
    yield S3(upstream, f"http://127.0.0.1:{proxy.server_address[1]}", key, secret, proxy, s3)
    proxy.shutdown()
    proxy.server_close()
    server.stop()


def environment(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a user sets for a store of their own."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.secret)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
