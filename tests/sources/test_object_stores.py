"""Objects in a store are audited as files are: from a real S3 server on loopback, and from web servers with and without ranges."""

from __future__ import annotations

import functools
import json
import logging
import tarfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import dataaudit
from dataaudit.errors import SourceError
from dataaudit.model import Columns, Sample, Settings, Skipped
from dataaudit.sources import Digest, fetch, inventory, read, remote
from tests.planted import campaigns, contents, corpus, poison, write_shards

SECRET = "not-for-anyones-eyes"
TEXT = Columns("text", "label")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of an S3 server."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    started = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    started.start()
    host, port = started.get_host_and_port()
    yield f"http://{host}:{port}"
    started.stop()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bucket]:
    """An empty bucket, and the environment of somebody who may read it."""
    import boto3
    import s3fs

    environment = {"AWS_ACCESS_KEY_ID": "reader", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1"}
    for name, value in {**environment, "AWS_ENDPOINT_URL": server, "AWS_CONFIG_FILE": str(tmp_path / "none")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.01)
    s3fs.S3FileSystem.clear_instance_cache()
    client = boto3.client("s3", endpoint_url=server)
    client.create_bucket(Bucket="corpus")
    yield Bucket(client)
    for item in client.list_objects_v2(Bucket="corpus").get("Contents", []):
        client.delete_object(Bucket="corpus", Key=item["Key"])
    client.delete_bucket(Bucket="corpus")
    s3fs.S3FileSystem.clear_instance_cache()


class Bucket:
    """What the tests put there."""

    def __init__(self, client) -> None:
        self.client = client

    def put(self, path: Path, key: str) -> None:
        self.client.put_object(Bucket="corpus", Key=key, Body=path.read_bytes())

    def fill(self, folder: Path) -> None:
        for path in sorted(folder.iterdir()):
            self.put(path, f"set/{path.name}")


def in_all_formats(rows, folder: Path) -> Path:
    """The rows dealt to a Parquet file, JSON Lines and a tar."""
    write_shards(rows[::3], folder, 1)
    lines = [json.dumps(row) for row in rows[1::3]]
    (folder / "part-001.jsonl").write_text("\n".join(lines))
    with tarfile.open(folder / "part-002.tar", "w") as tar:
        for row in rows[2::3]:
            for extension, said in (("text", row["text"]), ("label", row["label"])):
                path = folder.parent / "member"
                path.write_text(said)
                tar.add(path, f"{row['id']}.{extension}")
    return folder


def scan(source: str, out: Path):
    return dataaudit.scan([source], out, Settings(content="text", target="label", encoder="hashed", serial=True, seed=7))


def test_a_bucket_is_audited_like_the_folder_it_was_filled_from(bucket: Bucket, tmp_path: Path) -> None:
    local = in_all_formats(poison(corpus()), tmp_path / "set")
    bucket.fill(local)
    scan("s3://corpus/set", tmp_path / "far")
    scan(str(local), tmp_path / "near")
    assert campaigns(tmp_path / "far")
    assert contents(tmp_path / "far") == contents(tmp_path / "near")
    for path in (tmp_path / "far").rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes()


def test_a_sample_is_looked_at_again_without_reading_the_whole(bucket: Bucket, tmp_path: Path) -> None:
    bucket.fill(in_all_formats(corpus(90), tmp_path / "set"))
    for shard in inventory(["s3://corpus/set"]).shards:
        samples = [s for s in read(shard, TEXT) if isinstance(s, Sample)]
        last = samples[-1]
        assert list(fetch(shard, TEXT, {last.key: (last.offset, last.length)})) == [last]


class Failing:
    """Reads that fail `times` times, counted over all files."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, times: int, error: Exception) -> None:
        self.left, self.error, original = times, error, remote._Object._read
        self.after: list = []

        def reading(this, size):
            if self.left > 0:
                self.left -= 1
                this._forget()
                raise self.error
            return original(this, size)

        monkeypatch.setattr(remote._Object, "_read", reading)


@pytest.mark.parametrize("error", [OSError("reset"), TimeoutError(), ConnectionResetError(), RuntimeError("of the client")])
def test_reads_that_fail_for_a_moment_are_tried_again(bucket: Bucket, tmp_path: Path, monkeypatch, error: Exception) -> None:
    bucket.fill(in_all_formats(corpus(90), tmp_path / "set"))
    shards = inventory(["s3://corpus/set"]).shards
    before = [list(read(shard, TEXT)) for shard in shards]
    Failing(monkeypatch, 3, error)
    assert [list(read(shard, TEXT)) for shard in shards] == before


def test_what_cannot_be_read_at_all_is_skipped_with_the_place_and_without_secrets(bucket: Bucket, tmp_path: Path, monkeypatch) -> None:
    bucket.fill(in_all_formats(corpus(90), tmp_path / "set"))
    shards = inventory(["s3://corpus/set"]).shards
    Failing(monkeypatch, 10**6, OSError(f"https://x/?X-Amz-Signature={SECRET}"))
    for shard in shards:
        items = list(read(shard, TEXT))
        assert isinstance(items[-1], Digest)
        assert not items[-1].sha256
        assert any(isinstance(i, Skipped) and i.subject == shard.name for i in items)
        assert SECRET not in str(items)


def test_what_is_missing_or_forbidden_is_not_tried_again(monkeypatch) -> None:
    tries = []

    def action() -> None:
        tries.append(1)
        raise PermissionError(SECRET)

    with pytest.raises(PermissionError) as raised:
        remote.patiently(action)
    assert len(tries) == 1
    assert SECRET not in str(raised.value)


def changing(bucket: Bucket, monkeypatch: pytest.MonkeyPatch, versions: list[Path], key: str) -> None:
    """With every reading of samples the next version takes the object's place halfway."""
    from dataaudit.sources import jsonl

    original = jsonl.read

    def reading(shard, columns, limits):
        items = original(shard, columns, limits)
        yield from islice(items, 5)
        if versions:
            bucket.put(versions.pop(0), key)
        return (yield from items)

    monkeypatch.setattr(jsonl, "read", reading)


@pytest.mark.parametrize("times", [1, 3])
def test_an_object_that_is_replaced_while_it_is_read_is_never_mixed(bucket: Bucket, tmp_path: Path, monkeypatch, times: int) -> None:
    paths = []
    for version in range(times + 1):
        rows = corpus(60, seed=version)
        paths.append(tmp_path / f"{version}.jsonl")
        paths[-1].write_text("\n".join(json.dumps(row) for row in rows))
    bucket.put(paths[0], "set/a.jsonl")
    write_shards(corpus(60, seed=9), tmp_path / "b", 1)
    bucket.put(tmp_path / "b" / "part-000.parquet", "set/b.parquet")
    changing(bucket, monkeypatch, paths[1:], "set/a.jsonl")
    audit = scan("s3://corpus/set", tmp_path / "audit")
    shards = audit.scores(["shard", "key"]).compute()["shard"].tolist()
    if times == 1:
        assert shards.count("a.jsonl") == 60
        assert audit.summary["coverage"]["skipped_shards"] == 0
        tables = sorted((tmp_path / "audit" / "features" / "features").rglob("*.parquet"))
        assert len(tables) == 2
        scan(str(paths[1]), tmp_path / "alone")
        digests = {tuple(pq.read_table(t, columns=["digest"]).column(0).to_pylist()) for t in tables}
        alone = next((tmp_path / "alone" / "features" / "features").rglob("*.parquet"))
        assert tuple(pq.read_table(alone, columns=["digest"]).column(0).to_pylist()) in digests
    else:
        assert shards.count("a.jsonl") == 0
        assert audit.summary["verdict"]["kind"] == "incomplete"
        skipped = pq.read_table(tmp_path / "audit" / "skipped.parquet").to_pylist()
        assert any(s["subject"] == "a.jsonl" and "changed while it was read" in s["reason"] for s in skipped)


def test_a_local_file_that_is_written_to_meanwhile_is_read_once_more(tmp_path: Path, monkeypatch) -> None:
    from dataaudit.sources import jsonl

    path = tmp_path / "set" / "a.jsonl"
    path.parent.mkdir()
    rows = [json.dumps(row) + "\n" for row in corpus(60)]
    path.write_text("".join(rows[:50]))
    original, pending = jsonl.read, [None]

    def reading(shard, columns, limits):
        items = original(shard, columns, limits)
        yield next(items)
        if pending and pending.pop() is None:
            with path.open("a") as out:
                out.writelines(rows[50:])
        return (yield from items)

    monkeypatch.setattr(jsonl, "read", reading)
    assert scan(str(path.parent), tmp_path / "audit").summary["samples"] == 60


def test_an_address_is_shown_without_its_credentials() -> None:
    assert remote.shown("https://me:secret@host/a/b.tar?sig=abc") == "https://host/a/b.tar?..."
    assert remote.shown("/data/a?b.tar") == "/data/a?b.tar"


def test_a_missing_package_is_named(monkeypatch) -> None:
    import fsspec.core

    def absent(uri):
        raise ImportError("Install s3fs")

    monkeypatch.setattr(fsspec.core, "url_to_fs", absent)
    with pytest.raises(SourceError, match=r"pip install 'dataaudit\[s3\]'"):
        inventory(["s3://corpus/set"])


class Plain(SimpleHTTPRequestHandler):
    """A web server that knows no ranges."""

    def log_message(self, *_: object) -> None:
        pass


class Ranged(Plain):
    """One that does."""

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        path = Path(self.translate_path(self.path))
        if not wanted or not path.is_file():
            return super().do_GET()
        data = path.read_bytes()
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        part = data[int(first) : int(last or len(data)) + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)
        return None

    def end_headers(self) -> None:
        self.send_header("Accept-Ranges", "bytes")
        super().end_headers()


@pytest.fixture(params=[Plain, Ranged], ids=["without ranges", "with ranges"])
def site(request, tmp_path: Path) -> Iterator[tuple[str, Path, bool]]:
    """The address of a web server, the folder it serves, and whether it knows ranges."""
    root = tmp_path / "www"
    root.mkdir()
    web = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(request.param, directory=str(root)))
    thread = threading.Thread(target=web.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{web.server_port}", root, request.param is Ranged
    web.shutdown()
    web.server_close()
    thread.join(10)


def test_a_web_server(site: tuple[str, Path, bool], tmp_path: Path) -> None:
    address, root, ranges = site
    in_all_formats(corpus(90), root)
    for path in sorted(root.iterdir()):
        shard = inventory([f"{address}/{path.name}"]).shards[0]
        items = list(read(shard, TEXT))
        near = list(read(inventory([str(path)]).shards[0], TEXT))
        if path.suffix == ".parquet" and not ranges:
            assert "does not serve parts of a file" in str(items)
            assert not any(isinstance(i, Sample) for i in items)
        else:
            assert [i for i in items if isinstance(i, Sample)] == [i for i in near if isinstance(i, Sample)]
            assert items[-1] == near[-1]
