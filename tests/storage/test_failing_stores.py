"""Object stores that refuse, fail, are slow, or change while they are read."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from storage import object_stores, places, remote
from storage.listing import list_files
from storage.object_stores import GoneError
from storage.uris import RemoteError
from tests.s3 import BUCKET, DROP, S3
from tests.storage.served import FILES, FOLDER, here


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
