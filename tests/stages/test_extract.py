"""What is kept of a shard speaks of that shard only, and of nothing that was not read to its end."""

import io

import numpy as np
from PIL import Image

import dataaudit
from dataaudit import sources
from dataaudit.engine import Serial
from dataaudit.model import Settings, Skipped
from dataaudit.stages.aggregate import aggregate, load_views
from dataaudit.stages.extract import extract
from dataaudit.stages.inventory import prepare
from dataaudit.store.cache import Cache
from tests.planted import corpus, write_shards


def write_images(folder, seed):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for i in range(12):
        out = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(out, "PNG")
        (folder / f"{i}.png").write_bytes(out.getvalue())


def labels(source, out):
    found = prepare([str(source)], out, Settings(seed=1))
    shards = extract(found.shards, found.plan, found.cache, Serial())
    views = load_views(["targets"], aggregate(["targets"], shards, found.plan, found.cache, Serial()), found.plan, found.cache)
    return dict(zip(views["targets"].names.tolist(), views["targets"].counts.tolist(), strict=True))


def test_the_same_pictures_under_two_labels_are_both_counted(tmp_path):
    for label in ("cat", "dog"):
        write_images(tmp_path / "data" / label, seed=0)
    assert labels(tmp_path / "data", tmp_path / "out") == {"cat": 12, "dog": 12}


def test_a_renamed_class_is_not_taken_for_the_old_one(tmp_path):
    write_images(tmp_path / "data" / "cat", seed=0)
    write_images(tmp_path / "data" / "dog", seed=1)
    labels(tmp_path / "data", tmp_path / "out")
    (tmp_path / "data" / "cat").rename(tmp_path / "data" / "wolf")
    assert labels(tmp_path / "data", tmp_path / "out") == {"dog": 12, "wolf": 12}


def test_shards_that_were_not_read_to_their_end_are_kept_apart_and_tried_again(tmp_path, monkeypatch):
    data = write_shards(corpus(60), tmp_path / "data", 2)
    found = prepare([str(data)], tmp_path / "out", Settings(seed=1, encoder="hashed"))
    whole = sources.read

    def torn(shard, columns, limits=None):
        yield from [item for item in whole(shard, columns) if not isinstance(item, sources.Digest)][:20]
        yield Skipped(shard.name, "read", "the connection broke")
        yield sources.Digest("", 0)

    monkeypatch.setattr(sources, "read", torn)
    first = extract(found.shards, found.plan, found.cache, Serial())
    assert [e.rows for e in first] == [20, 20]
    assert first[0].table != first[1].table
    monkeypatch.setattr(sources, "read", whole)
    assert [e.rows for e in extract(found.shards, found.plan, found.cache, Serial())] == [30, 30]


def test_a_great_many_unreadable_samples_are_counted_and_not_all_kept(tmp_path):
    rows = [r | {"label": None} if i % 2 else r for i, r in enumerate(corpus(2400))]
    audit = dataaudit.scan([str(write_shards(rows, tmp_path / "data"))], tmp_path / "audit", Settings(serial=True, encoder="hashed"))
    assert audit.summary["coverage"]["skipped_samples"] == 1200
    reasons = audit.skipped["reason"].tolist()
    assert any("200 more samples" in r for r in reasons)


def test_a_shard_that_two_workers_extract_at_once_is_finished_by_both(tmp_path, monkeypatch):
    """So it goes where a client was killed and its successor submits what a worker is still at."""
    data = write_shards(corpus(60), tmp_path / "data")
    found = prepare([str(data)], tmp_path / "out", Settings(seed=1, encoder="hashed"))
    named, others = Cache.features, []

    def features(cache, recipe, digest):
        """Asked for between writing the table and renaming it: then another worker comes in between."""
        if not others:
            others.append(None)
            others.extend(extract(found.shards, found.plan, found.cache, Serial()))
        return named(cache, recipe, digest)

    monkeypatch.setattr(Cache, "features", features)
    assert extract(found.shards, found.plan, found.cache, Serial()) == others[1:]
    assert [e.rows for e in others[1:]] == [60]


def test_a_marker_does_not_hold_the_address_which_may_be_signed(tmp_path):
    data = write_shards(corpus(60), tmp_path / "data", 2)
    prepared = prepare([str(data)], tmp_path / "audit", Settings(content="text", target="label", encoder="hashed", seed=1))
    first = extract(prepared.shards, prepared.plan, prepared.cache, Serial())
    markers = [path.read_text() for path in (prepared.cache.root / "markers").iterdir()]
    assert len(markers) == 2
    assert not any(shard.uri in marker for shard in prepared.shards for marker in markers)
    assert extract(prepared.shards, prepared.plan, prepared.cache, Serial()) == first
