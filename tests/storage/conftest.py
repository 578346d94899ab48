from __future__ import annotations

from pathlib import Path

import pytest

from storage import object_stores
from tests.s3 import S3, environment
from tests.storage.served import FILES


@pytest.fixture
def s3(s3_server: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> S3:
    environment(s3_server, monkeypatch)
    monkeypatch.setenv("FIRST_IMPRESSION_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(object_stores, "WAITS", (0.01, 0.01))
    monkeypatch.setattr(object_stores, "ATTEMPTS", 1)
    object_stores._opened.cache_clear()
    s3_server.empty()
    folder = tmp_path / "source"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    s3_server.put(folder, "folder")
    return s3_server
