"""What is broken is named with its place, the rest is audited, and nothing in the source is touched."""

import hashlib
import io
import json
import struct
import tarfile
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import dataaudit
from dataaudit.errors import AuditDirectoryError, ConfigurationError, SourceError
from tests.planted import corpus, write_shards

SETTINGS = dataaudit.Settings(serial=True, seed=7, encoder="hashed")
IMAGES = dataaudit.Settings(serial=True, seed=7)


def scan(source, tmp_path, settings=SETTINGS):
    return dataaudit.scan([str(source)], tmp_path / "audit", settings)


def skipped(audit):
    return {r["subject"]: r["reason"] for r in pq.read_table(audit.path / "skipped.parquet").to_pylist() if r["stage"] != "detect"}


def png(seed=0, side=16):
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)).save(out, "PNG")
    return out.getvalue()


def bomb(width, height):
    """A small, valid PNG that claims to be huge."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def write_tar(path, images, labels=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for i, data in enumerate(images):
            for name, content in ((f"{i:04d}.png", data), (f"{i:04d}.cls", (labels or "ab")[i % 2].encode())):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def test_an_empty_source(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="empty"):
        scan(tmp_path / "empty", tmp_path)


@pytest.mark.parametrize(
    ("name", "value"), [("workers", 0), ("workers", -1), ("workers", "2"), *(("max_skipped", v) for v in (-0.1, 2.0, float("nan"), "1"))]
)
def test_settings_that_make_no_sense(name, value):
    with pytest.raises(ConfigurationError, match=name):
        dataaudit.Settings(**{name: value})


def test_a_place_for_the_audit_that_is_none(tmp_path):
    data = write_shards(corpus(40), tmp_path / "data")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(AuditDirectoryError, match="file: no directory"):
        dataaudit.scan([str(data)], tmp_path / "file", SETTINGS)
    with pytest.raises(AuditDirectoryError, match="file/below: no directory"):
        dataaudit.scan([str(data)], tmp_path / "file" / "below", SETTINGS)
    for seed in (None, 7):
        settings = dataaudit.Settings(serial=True, encoder="hashed", cache=str(tmp_path / "file"), seed=seed)
        with pytest.raises(AuditDirectoryError, match="file: no directory that features"):
            dataaudit.scan([str(data)], tmp_path / "audit", settings)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_directory_of_something_else_is_left_alone(tmp_path):
    data = write_shards(corpus(40), tmp_path / "data")
    (data / "features").mkdir()
    (data / "report.html").write_text("mine")
    (data / "manifest.json").write_text("{}")
    with pytest.raises(AuditDirectoryError, match="not empty, and no audit"):
        dataaudit.scan([str(data)], data, SETTINGS)
    assert sorted(p.name for p in data.iterdir()) == ["features", "manifest.json", "part-000.parquet", "report.html"]


def test_an_audit_is_written_over_and_so_is_a_place_with_nothing_to_lose(tmp_path):
    data, place = write_shards(corpus(40), tmp_path / "data"), tmp_path / "audit"
    (place / "lost+found").mkdir(parents=True)
    (place / ".gitkeep").touch()
    elsewhere = dataaudit.Settings(serial=True, seed=7, encoder="hashed", cache=str(tmp_path / "cache"))
    dataaudit.scan([str(data)], place, elsewhere)
    assert dataaudit.scan([str(data)], place, elsewhere).summary["samples"] == 40


def test_a_source_that_is_not_there(tmp_path):
    with pytest.raises(SourceError, match="nowhere"):
        scan(tmp_path / "nowhere", tmp_path)


def test_a_missing_column_is_named_with_those_there_are(tmp_path):
    data = write_shards(corpus(40), tmp_path / "data")
    with pytest.raises(ConfigurationError, match=r"(?s)verdict.*text"):
        scan(data, tmp_path, dataaudit.Settings(serial=True, target="verdict", encoder="hashed"))


def test_a_parquet_file_with_a_broken_footer(tmp_path):
    data = write_shards(corpus(200), tmp_path / "data", 2)
    broken = data / "part-001.parquet"
    broken.write_bytes(broken.read_bytes()[:-100])
    audit = scan(data, tmp_path)
    assert list(skipped(audit)) == ["part-001.parquet"]
    assert audit.summary["samples"] == 100
    assert audit.summary["verdict"]["kind"] == "incomplete"


def test_a_text_that_is_not_utf8_and_a_label_that_is_null(tmp_path):
    rows = corpus(200)
    table = pa.Table.from_pylist(rows)
    texts = [str(r["text"]).encode() for r in rows]
    texts[17] = b"caf\xe9 \xff"
    labels = [None if i == 23 else r["label"] for i, r in enumerate(rows)]
    folder = tmp_path / "data"
    folder.mkdir()
    pq.write_table(
        pa.table({"id": table["id"], "text": pa.array(texts, pa.binary()).view(pa.string()), "label": pa.array(labels)}),
        folder / "a.parquet",
    )
    found = skipped(scan(folder, tmp_path, dataaudit.Settings(serial=True, encoder="hashed")))
    assert set(found) == {"a.parquet#17", "a.parquet#23"}
    assert "UTF-8" in found["a.parquet#17"]
    assert "label" in found["a.parquet#23"]


def test_a_truncated_tar_and_images_that_are_not(tmp_path):
    images = [png(i) for i in range(30)]
    images[3] = b"GIF89a but not really"
    images[4] = bomb(60_000, 60_000)
    images[5] = png(5)[:60]
    data = tmp_path / "data"
    write_tar(data / "a.tar", images)
    torn = write_tar(data / "b.tar", [png(100 + i) for i in range(10)])
    torn.write_bytes(torn.read_bytes()[: torn.stat().st_size // 2])
    before = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in data.iterdir()}

    audit = scan(data, tmp_path, IMAGES)
    found = skipped(audit)
    assert {"a.tar#0003", "a.tar#0004", "a.tar#0005"} <= set(found)
    assert "pixels" in found["a.tar#0004"]
    assert any(subject.startswith("b.tar") and "byte" in reason for subject, reason in found.items())
    assert audit.summary["samples"] >= 27 + 3
    assert audit.summary["verdict"]["kind"] == "incomplete"
    assert {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in data.iterdir()} == before


def test_a_pickle_in_a_source_is_never_loaded(tmp_path):
    class Boom:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    import pickle

    payload = pickle.dumps(Boom())
    data = tmp_path / "data"
    data.mkdir()
    with tarfile.open(data / "a.tar", "w") as tar:
        for i in range(20):
            for name, content in ((f"{i}.png", png(i)), (f"{i}.pyd", payload), (f"{i}.pth", payload), (f"{i}.cls", str(i % 2).encode())):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    assert scan(data, tmp_path, IMAGES).summary["samples"] == 20
    assert not (tmp_path / "owned").exists()


def test_one_label_only_is_audited_and_says_what_could_not_be_looked_at(tmp_path):
    rows = [r | {"label": "ham"} for r in corpus(120)]
    audit = scan(write_shards(rows, tmp_path / "data"), tmp_path)
    assert audit.summary["campaigns"] == 0


def test_a_label_for_every_sample_and_very_few_samples(tmp_path):
    rows = [r | {"label": str(i)} for i, r in enumerate(corpus(9))]
    audit = scan(write_shards(rows, tmp_path / "data"), tmp_path)
    assert audit.summary["campaigns"] == 0
    json.loads((tmp_path / "audit" / "audit.json").read_text())
