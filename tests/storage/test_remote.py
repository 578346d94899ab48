"""Folders and files behind a URI, on a real S3 server: what is fetched, what is kept, and every way it can go wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storage import places, remote
from storage.listing import list_files
from storage.uris import RemoteError
from tests.s3 import BUCKET, S3
from tests.storage.served import FILES, FOLDER, here


def test_a_folder_is_fetched_as_it_is_and_from_the_cache_the_next_time(s3: S3) -> None:
    path = places.local(FOLDER)
    remote.fetch(path)
    assert here(path) == FILES
    another = places.cache_root() / "views" / "another" / "s3" / BUCKET / "folder"
    with s3.faulty(lambda *_: None) as seen:
        remote.fetch(path)
        remote.fetch(another)
    assert here(another) == FILES
    assert not [one for one in seen if one[0] == "GET" and "list-type" not in one[1]]


def test_what_changed_is_fetched_again_and_what_went_is_gone(s3: S3) -> None:
    path = places.local(FOLDER)
    remote.fetch(path)
    s3.client.put_object(Bucket=BUCKET, Key="folder/a.txt", Body=b"ALPHA")  # as long, and perhaps in the same second
    s3.delete("folder/deep/b c%20d.txt")
    remote.fetch(path / "a.txt")
    assert (path / "a.txt").read_bytes() == b"ALPHA"
    remote.fetch(path)
    assert here(path) == {"a.txt": b"ALPHA", "deep/er/c=1.bin": FILES["deep/er/c=1.bin"]}
    s3.empty()
    remote.fetch(path)
    assert not path.exists()


def test_looking_makes_folders_and_fetches_nothing(s3: S3) -> None:
    path = places.local(FOLDER)
    with s3.faulty(lambda *_: None) as seen:
        remote.look(path)
    assert [found.name for found in path.iterdir()] == ["deep"]
    assert all(method == "HEAD" or "list-type" in where for method, where in seen)
    remote.look(path / "a.txt")
    assert (path / "a.txt").read_bytes() == b"alpha"


def test_a_folder_is_listed_by_the_rules_of_local_ones(s3: S3, tmp_path: Path) -> None:
    for key in ("folder/_hidden/x.txt", "folder/a.txt.zip"):
        s3.client.put_object(Bucket=BUCKET, Key=key, Body=b"x")
        (tmp_path / "source" / key.removeprefix("folder/")).parent.mkdir(exist_ok=True)
        (tmp_path / "source" / key.removeprefix("folder/")).write_bytes(b"x")
    found, local = list_files(places.local(FOLDER), "**/*.txt"), list_files(tmp_path / "source", "**/*.txt")
    assert [(one.path, one.size) for one in found.wanted] == [(one.path, one.size) for one in local.wanted]
    assert [(one.path, one.reason) for one in found.left_out] == [(one.path, one.reason) for one in local.left_out]


def test_a_folder_is_uploaded_with_its_last_file_last(s3: S3, tmp_path: Path) -> None:
    path = places.target(f"s3://{BUCKET}/run")

    def make(**files: str) -> None:
        for name, content in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_text(content)

    make(DONE="1", weights="old", only_then="x")
    remote.upload(path, "DONE")
    assert not path.exists()
    make(DONE="2", weights="new")
    with s3.faulty(lambda *_: None) as seen:
        remote.upload(path, "DONE")
    acts = [(method, where.split("?")[0].rpartition("/")[2]) for method, where in seen if method in ("PUT", "DELETE")]
    assert acts[0] == ("DELETE", "DONE") and acts[-1] == ("PUT", "DONE")
    found = {key: s3.read(key) for key in s3.keys("run/") if key != "run/"}  # Arrow marks a folder it deletes from
    assert found == {"run/DONE": b"2", "run/weights": b"new"}


def test_an_upload_that_fails_leaves_nothing_that_looks_whole_and_keeps_what_was_made(s3: S3) -> None:
    path = places.target(f"s3://{BUCKET}/run")
    path.mkdir(parents=True)
    for name in ("DONE", "metrics", "weights"):
        (path / name).write_text(name)
    refused = pytest.raises(RemoteError, match=f"s3://{BUCKET}/run/weights can't be written: the store refuses access")
    with s3.faulty(lambda method, where: 403 if "weights" in where and method != "HEAD" else None), refused:
        remote.upload(path, "DONE")
    assert "run/DONE" not in s3.keys("run/")
    remote.upload(path, "DONE")
    assert s3.keys("run/") == ["run/DONE", "run/metrics", "run/weights"]


def test_a_large_file_goes_there_and_back(s3: S3) -> None:
    content = os.urandom(23_000_000)  # more than one part
    path = places.target(f"s3://{BUCKET}/large.bin")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    remote.upload(path)
    assert s3.read("large.bin") == content
    back = places.local(f"s3://{BUCKET}/large.bin")
    remote.fetch(back)
    assert back.read_bytes() == content


# -- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key, words", [("folder/../../escape", "Rename the object"), ("folder//twice", "folder/twice isn't there")]
)
def test_an_object_whose_name_is_no_path_is_refused(s3: S3, key: str, words: str) -> None:
    s3.client.put_object(Bucket=BUCKET, Key=key, Body=b"x")
    with pytest.raises(RemoteError, match=words):
        remote.fetch(places.local(FOLDER))


def test_an_object_that_is_a_folder_too_is_refused(s3: S3) -> None:
    s3.client.put_object(Bucket=BUCKET, Key="folder/deep", Body=b"x")
    with pytest.raises(RemoteError, match="is an object and a folder"):
        remote.fetch(places.local(FOLDER))


# -- the cache --------------------------------------------------------------------------------------------------------

FETCH = "import sys; from storage import places, remote; p = places.local(sys.argv[1]); remote.fetch(p); print(p)"


def test_two_processes_at_once_and_one_that_is_killed(s3: S3) -> None:
    command = [sys.executable, "-c", FETCH + "; print((p / 'a.txt').read_text())", FOLDER]
    with s3.faulty(lambda method, where: 0.5 if "c%3D1" in where and method == "GET" else None) as seen:
        killed = subprocess.Popen(command, stdout=subprocess.PIPE)
        while not any(method == "GET" and "c%3D1" in where for method, where in seen):
            time.sleep(0.01)
            assert killed.poll() is None
        killed.kill()
        killed.wait()
        both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        said = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert [one.splitlines()[1] for one in said] == ["alpha", "alpha"]
    views = places.cache_root() / "views"
    path = places.local(FOLDER)  # tidies up after the killed one
    assert [found.name for found in views.iterdir() if found.is_dir()] == [path.relative_to(views).parts[0]]
    remote.fetch(path)
    assert here(path) == FILES


def test_what_is_unused_for_longest_goes_when_room_is_needed(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_FRESH", 0)
    objects = places.cache_root() / "objects"
    for size, name in enumerate("abc", start=1):
        s3.client.put_object(Bucket=BUCKET, Key=f"many/{name}", Body=b"x" * 1000 * size)
    for name in "abc":
        path = places.local(f"s3://{BUCKET}/many/{name}")
        monkeypatch.setenv(remote.LIMIT, "0.0000045")  # 4,500 bytes
        remote.need(path)
        os.utime(next(found for found in objects.glob("*/*") if found.samefile(path)), (ord(name), ord(name)))
        remote.release(path)
    remote._make_room()
    assert sorted(found.stat().st_size for found in objects.glob("*/*")) == [3000]
    monkeypatch.setenv(remote.LIMIT, "much")
    with pytest.raises(RemoteError, match="Expected a number of gigabytes"):
        remote.need(places.local(f"s3://{BUCKET}/many/a"))
