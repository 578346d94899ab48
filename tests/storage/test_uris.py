"""What a URI means, what is refused, and that nothing secret is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import places
from storage.uris import RemoteError, Uri, command_line, is_uri, parse


@pytest.mark.parametrize(
    "text, place, key",
    [
        ("s3://bucket/a/b/", "bucket", "a/b"),
        ("s3://bucket", "bucket", ""),
        ("s3a://bucket/a", "bucket", "a"),
        ("S3://bucket/a b/100%25#c@d", "bucket", "a b/100%25#c@d"),
        ("gs://bucket/event_date=2026-01-01/x.parquet", "bucket", "event_date=2026-01-01/x.parquet"),
        ("hdfs://name-node:8020/marts", "name-node:8020", "marts"),
        ("hdfs://name-node:8020/marts/a@b", "name-node:8020", "marts/a@b"),
        ("hdfs:///marts", "default", "marts"),
        (Path("s3://bucket/a"), "bucket", "a"),  # pathlib has made one slash of two
    ],
)
def test_a_uri_names_a_place_and_a_key(text: object, place: str, key: str) -> None:
    uri = parse(text)
    assert isinstance(uri, Uri)
    assert (uri.place, uri.key) == (place, key)


@pytest.mark.parametrize(
    "text, path",
    [
        ("file:///data/marts", "/data/marts"),
        ("file://localhost/data/marts", "/data/marts"),
        ("file:///my%20data/100%25/%E5%93%81", "/my data/100%/品"),
        ("file:///with space/+", "/with space/+"),
    ],
)
def test_a_file_uri_is_a_local_path(text: str, path: str) -> None:
    assert parse(text) == Path(path)
    assert places.local(text) == places.target(text) == Path(path)


@pytest.mark.parametrize("given", ["marts", "/a/b", "./s3:x", "C:/x", "a:b", "redis", "", "a//b"])
def test_a_local_path_stays_what_it_is(given: str) -> None:
    assert not is_uri(given)
    assert places.local(given) == places.target(given) == Path(given)
    assert places.shown(places.local(given)) == str(Path(given))


@pytest.mark.parametrize(
    "text, words",
    [
        ("ftp://user:pa55@host/x", "ftp:// can't be read or written here. Expected a local path, or a URI"),
        ("http://host/x?token=pa55", "Expected a local path"),
        ("s3://", "names no bucket"),
        ("s3:///key", "names no bucket"),
        ("s3://bucket/a/../b", "'..'"),
        ("s3://bucket/a//b", "two slashes"),
        ("s3://bucket/a?secret_key=pa55", "region, endpoint_override, scheme, anonymous"),
        ("s3://key:pa55/word", "colon in the name of its bucket"),
        ("gs://key:pa55@bucket/a", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("file://host/x", "a file of this machine"),
        ("file:///a?b=pa55", "%3F"),
        ("file:///a%00", "zero byte"),
    ],
)
def test_what_names_no_file_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(RemoteError) as error:
        places.local(text)
    assert words in str(error.value)
    assert "pa55" not in str(error.value)


_secret = st.text("abcXYZ019/+=", min_size=8, max_size=40)


@given(_secret, st.sampled_from(["s3", "s3a"]), st.booleans())
def test_no_secret_survives_in_what_is_shown(secret: str, scheme: str, encoded: bool) -> None:
    written = secret.replace("/", "%2F").replace("+", "%2B") if encoded else secret
    text = f"{scheme}://AKIA123:{written}@bucket/marts/x?region=here&endpoint_override=host"
    uri = parse(text)
    assert isinstance(uri, Uri)
    assert uri.user == f"AKIA123:{secret}"
    assert (uri.place, uri.key) == ("bucket", "marts/x")
    for shown in (str(uri), repr(uri), command_line(["trainer", "fit", f"--marts={text}", "--run", text])):
        assert "AKIA123" not in shown and "region" not in shown and written not in shown.replace("//bucket/marts/x", "")


def test_a_command_line_keeps_what_is_no_uri() -> None:
    assert command_line(["--note", "a?b", "x@y"]) == "--note 'a?b' x@y"


def test_a_path_says_which_uri_it_stands_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRST_IMPRESSION_CACHE", str(tmp_path))
    for path in (places.local("s3://bucket/a b/c"), places.target("s3://bucket/a b/c")):
        assert path.name == "c"
        assert places.shown(path) == "s3://bucket/a b/c"
        assert places.told(f"No file {path}/x, {path}.") == "No file s3://bucket/a b/c/x, s3://bucket/a b/c."
        assert not path.exists()
    assert places.shown(places.local("s3://bucket")) == "s3://bucket"
    monkeypatch.setattr(places, "_given", {})
    path = places.recorded("s3://key:word@bucket/a?endpoint_override=elsewhere")  # by somebody else's run
    assert places.shown(path) == "s3://bucket/a" and not places._given
    assert places.recorded("data/vectors") == Path("data/vectors")
