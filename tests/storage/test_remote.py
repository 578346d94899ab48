"""Folders and files behind a URI, on a real S3 server: what is fetched, what is kept, and every way it can go wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storage import object_stores, places, remote
from storage.listing import list_files
from storage.object_stores import GoneError
from storage.uris import RemoteError
from tests.s3 import BUCKET, DROP, S3, environment

FILES = {"a.txt": b"alpha", "deep/b c%20d.txt": b"beta", "deep/er/c=1.bin": bytes(range(256)) * 5000}


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


def here(path: Path) -> dict[str, bytes]:
    return {found.relative_to(path).as_posix(): found.read_bytes() for found in path.rglob("*") if found.is_file()}


FOLDER = f"s3://{BUCKET}/folder"


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


@pytest.mark.parametrize("key, secret", [("AKIANOBODY", "wrong-secret"), (None, "wrong-secret")])
def test_wrong_credentials_are_an_error_in_words_at_once(
    s3: S3, monkeypatch: pytest.MonkeyPatch, key: str | None, secret: str
) -> None:
    monkeypatch.setattr(object_stores, "WAITS", (60.0,))  # no second try
    with pytest.raises(RemoteError) as error:
        remote.fetch(places.local(f"s3://{key or s3.key}:{secret}@{BUCKET}/folder"))
    places._given.clear()
    words = str(error.value)
    assert words.startswith(f"s3://{BUCKET}/folder can't be read: the store refuses access")
    assert "AWS_ACCESS_KEY_ID" in words
    assert secret not in words and (key or s3.key) not in words


def test_credentials_in_a_uri_are_used(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    endpoint = s3.url.removeprefix("http://")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    path = places.local(
        f"s3://{s3.key}:{s3.secret}@{BUCKET}/folder?endpoint_override={endpoint}&scheme=http&region=us-east-1"
    )
    remote.fetch(path)
    places._given.clear()
    assert here(path) == FILES


def test_no_such_bucket_and_no_such_key(s3: S3) -> None:
    with pytest.raises(RemoteError, match=f"There is no bucket nowhere at {s3.url}, which s3://nowhere/x names"):
        remote.fetch(places.local("s3://nowhere/x"))
    with pytest.raises(RemoteError, match="There is no bucket nowhere"):
        remote.look(places.local("s3://nowhere"))
    target = places.target("s3://nowhere/out.txt")
    target.parent.mkdir(parents=True)
    target.write_text("x")
    with pytest.raises(RemoteError, match="There is no bucket nowhere"):
        remote.upload(target)
    path = places.local(f"s3://{BUCKET}/nothing")
    remote.fetch(path)
    remote.look(path)
    assert not path.exists() and not remote.exists(path)


def test_an_object_that_vanishes_from_a_folder_meanwhile_makes_it_be_listed_again(s3: S3) -> None:
    path = places.local(FOLDER)

    def delete_first(method: str, where: str) -> None:
        if where.endswith("a.txt"):
            s3.delete("folder/a.txt")

    with s3.faulty(delete_first):
        remote.fetch(path)
    assert here(path) == {name: content for name, content in FILES.items() if name != "a.txt"}


def test_an_object_that_vanishes_after_it_was_listed_is_an_error(s3: S3) -> None:
    path = places.local(FOLDER)
    assert list_files(path, "**/*.txt").wanted
    assert remote.need(path / "a.txt").read_bytes() == b"alpha"
    s3.delete("folder/deep/b c%20d.txt")
    with pytest.raises(GoneError, match=r"folder/deep/b c%20d.txt was listed and is gone since"):
        remote.need(path / "deep" / "b c%20d.txt")


def test_an_object_that_is_written_anew_while_it_is_read_is_never_mixed(s3: S3) -> None:
    path = places.local(f"{FOLDER}/deep/er/c=1.bin")
    new, times = b"n" * len(FILES["deep/er/c=1.bin"]), []

    def write_first(method: str, where: str) -> None:
        if method == "GET" and "list-type" not in where and not times:
            times.append(1)
            s3.client.put_object(Bucket=BUCKET, Key="folder/deep/er/c=1.bin", Body=new)

    with s3.faulty(write_first):
        remote.fetch(path)
    assert path.read_bytes() == new


def test_a_folder_that_never_comes_to_rest_is_an_error(s3: S3) -> None:
    def write(method: str, where: str) -> None:
        if method == "HEAD" and where.endswith("a.txt"):
            s3.client.put_object(Bucket=BUCKET, Key="folder/new.txt", Body=os.urandom(3 + len(os.urandom(1))) * 2)
            s3.client.put_object(Bucket=BUCKET, Key=f"folder/{time.monotonic_ns()}", Body=b"x")

    with s3.faulty(write), pytest.raises(GoneError, match="was changed each of the 3 times"):
        remote.fetch(places.local(FOLDER))


def test_a_connection_that_breaks_is_tried_again(s3: S3) -> None:
    path, broken = places.local(FOLDER), set[str]()

    def drop_once(method: str, where: str) -> str | None:
        if method == "GET" and "list-type" not in where and where not in broken:
            broken.add(where)
            return DROP
        return None

    with s3.faulty(drop_once):
        remote.fetch(path)
    assert len(broken) == len(FILES)
    assert here(path) == FILES


def test_a_store_that_fails_for_a_while_is_tried_again_and_one_that_goes_on_failing_is_an_error(s3: S3) -> None:
    path, failed = places.local(FOLDER), list[str]()

    def fail(method: str, where: str) -> int | None:
        failed.append(where)
        return 503 if len(failed) < 3 else None

    with s3.faulty(fail):
        remote.fetch(path)
    assert here(path) == FILES
    with s3.faulty(lambda *_: 503), pytest.raises(RemoteError) as error:
        remote.fetch(places.local(f"s3://{BUCKET}/folder/deep"))
    assert "after 3 tries" in str(error.value) and "can be reached from here" in str(error.value)


def test_a_slow_store_is_waited_for_and_a_silent_one_is_an_error(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    path = places.local(FOLDER)
    with s3.faulty(lambda *_: 0.2):
        remote.fetch(path)
    assert here(path) == FILES
    monkeypatch.setattr(object_stores, "TIMEOUTS", {"connect_timeout": 1, "request_timeout": 1})
    object_stores._opened.cache_clear()
    with s3.faulty(lambda *_: 2.5), pytest.raises(RemoteError, match="after 3 tries"):
        remote.fetch(places.local(f"{FOLDER}/deep"))
    object_stores._opened.cache_clear()


def test_nobody_there_is_an_error_that_names_the_endpoint(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://someone:pa55@127.0.0.1:9")
    with pytest.raises(RemoteError) as error:
        remote.fetch(places.local(FOLDER))
    assert "http://127.0.0.1:9" in str(error.value) and "pa55" not in str(error.value)


def test_hdfs_without_hadoop_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRST_IMPRESSION_CACHE", str(tmp_path))
    monkeypatch.setenv("HADOOP_HOME", str(tmp_path))
    monkeypatch.delenv("ARROW_LIBHDFS_DIR", raising=False)
    with pytest.raises(RemoteError, match="libhdfs"):
        remote.fetch(places.local("hdfs://name-node:8020/marts"))


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
