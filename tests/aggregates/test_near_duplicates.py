"""Copies and near-copies are found whatever shard they lie in; look-alikes are left alone."""

import hashlib
import io
import resource

import numpy as np
import pyarrow as pa
import pytest
from datasketch import MinHash, MinHashLSH
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dataaudit.aggregates import PART_ROWS
from dataaudit.aggregates.near_duplicates import NearDuplicates, NearDuplicatesState, NearDuplicatesView
from dataaudit.aggregates.targets import Targets
from dataaudit.features import Batch
from dataaudit.features.minhash import PERMUTATIONS, SCHEME, SEED, Minhash
from dataaudit.features.phash import Phash
from dataaudit.features.table import tabulate
from dataaudit.model import Columns, Plan, Sample
from dataaudit.store import records
from tests.planted import corpus

TEXT = Plan("labelled-text", Columns("text", "label"), "label", "none", "00" * 16)
IMAGES = Plan("labelled-images", Columns("png", "cls"), "label", "none", "00" * 16)
UNIT = NearDuplicates()


def texts_table(rows):
    samples = [Sample(str(i), str(i), text, label, 0, 0) for i, (text, label) in enumerate(rows)]
    return tabulate(Batch(samples, TEXT), {"minhash": Minhash()})


def images_table(images, labels):
    samples = [Sample(str(i), str(i), im.tobytes(), label, 0, 0) for i, (im, label) in enumerate(zip(images, labels, strict=True))]
    table = tabulate(Batch(samples, IMAGES, images), {"phash": Phash()})
    return table.append_column("thumbnail", pa.array([im.tobytes() for im in images], pa.binary(3072)))


def views_of(table, plan):
    views = {"plan": plan}
    return views | {"targets": Targets().finish(Targets().start(table, views), views)}


def view_of(table, plan=TEXT, unit=UNIT):
    views = views_of(table, plan)
    return unit.finish(unit.start(table, views), views)


def honest(n=200, seed=0):
    return [(str(r["text"]), str(r["label"])) for r in corpus(n, seed)]


def edited(text, words, seed):
    rng = np.random.default_rng(seed)
    found = text.split()
    for at in rng.choice(len(found), words, replace=False):
        found[at] = f"edit{rng.integers(10_000)}"
    return " ".join(found)


def pictures(n, seed=0):
    small = np.random.default_rng(seed).integers(0, 255, (n, 9, 9, 3), dtype=np.uint8)
    return [np.asarray(Image.fromarray(s).resize((32, 32), Image.Resampling.BICUBIC)) for s in small]


def jpeg(image, quality):
    out = io.BytesIO()
    Image.fromarray(image).save(out, "JPEG", quality=quality)
    return np.asarray(Image.open(out).convert("RGB"))


def test_a_flood_of_edited_texts_is_one_cluster_and_honest_texts_are_none():
    rows = honest()
    long = " ".join(t for t, _ in rows[:5])  # about 220 words
    view = view_of(texts_table([*rows, *((edited(long, 5, i), "spam") for i in range(40))]))
    assert view.size.tolist() == [40]
    assert view.contents.tolist() == [40]
    assert view.targets.tolist() == [1]
    assert not len(view_of(texts_table(rows)).size)


@pytest.mark.parametrize(("words", "recall"), [(1, 1.0), (3, 1.0), (6, 0.95), (12, 0.9)])
def test_recall_of_single_edited_copies_of_texts_of_220_words(words, recall):
    rows = honest(300)
    long = [" ".join(t for t, _ in rows[i : i + 5]) for i in range(0, 300, 5)]
    copies = [edited(text, words, i) for i, text in enumerate(long)]
    table = texts_table([(t, "ham") for t in [*long, *copies]])
    view = view_of(table)
    place = view.place(table)
    cluster = np.where(place >= 0, view.cluster[place], -1)
    joined = (cluster[:60] == cluster[60:]) & (cluster[:60] >= 0)
    assert joined.mean() >= recall


def test_conflicting_copies_are_one_cluster_with_two_targets():
    rows = [*honest(50), ("the very same text", "ham"), ("the very same text", "spam"), ("the very same text", "spam")]
    table = texts_table(rows)
    view = view_of(table)
    assert (view.size.tolist(), view.contents.tolist(), view.targets.tolist(), view.copies.tolist()) == ([3], [1], [2], [2])
    assert view.agreement[view.place(table)[-3:]] == pytest.approx([1 / 3, 2 / 3, 2 / 3])
    assert (view.place(table)[:50] == -1).all()


def test_texts_without_a_word_are_no_near_copies():
    assert not len(view_of(texts_table([("...", "ham"), ("!!!", "ham"), ("?", "spam"), *honest(20)])).size)


def test_re_encoded_and_brightened_pictures_are_found_and_honest_ones_are_not():
    images = pictures(120)
    copies = [jpeg(images[0], q) for q in (60, 70, 80, 90)] + [np.clip(images[0].astype(int) + 9, 0, 255).astype(np.uint8)]
    view = view_of(images_table(images + copies, ["a"] * 125), IMAGES)
    assert view.size.tolist() == [6]
    assert not len(view_of(images_table(images, ["a"] * 120), IMAGES).size)


def test_simple_shapes_with_equal_hashes_are_told_apart_by_the_picture():
    def bar(level):
        image = np.zeros((32, 32, 3), np.uint8)
        image[4:28, 10:22] = level
        return image

    shapes = [bar(level) for level in (60, 120, 180, 240)]
    table = images_table(shapes, ["a"] * 4)
    assert len(set(table.column("phash").to_pylist())) == 1
    assert not len(view_of(table, IMAGES).size)


def test_vectors_have_exact_copies_only():
    digest = [hashlib.blake2b(str(i).encode(), digest_size=16).hexdigest() for i in (1, 2, 2, 3)]
    table = pa.table({"target": ["a"] * 4, "digest": digest, "rank": pa.array([5, 6, 6, 7], pa.uint64())})
    view = view_of(table, Plan("vectors", Columns(None, "label", None, "v"), "label", "none", "00" * 16))
    assert (view.size.tolist(), view.compared) == ([2], 0)


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.integers(1, 99), max_size=5, unique=True).map(sorted),
    st.randoms(),
    st.sampled_from([NearDuplicates(), NearDuplicates(70, 40)]),
)
def test_any_sharding_any_order_the_same_view(cuts, random, unit):
    base = honest(80)
    table = texts_table([*base, *((edited(base[0][0], 1, i), "spam") for i in range(10)), *base[:5], *((t, "spam") for t, _ in base[5:10])])
    views = views_of(table, TEXT)
    whole = unit.finish(unit.start(table, views), views)
    parts = [table.slice(a, b - a) for a, b in zip([0, *cuts], [*cuts, 100], strict=True)]
    random.shuffle(parts)
    assert_same(whole, unit.finish_parts([unit.start(part, views) for part in parts], views))
    state = unit.start(parts[0], views)
    for part in parts[1:]:
        state = unit.merge(unit.start(part, views), state)
    assert_same(whole, unit.finish(state, views))
    assert whole.seen == 100


def assert_same(one, other):
    for field in NearDuplicatesView.__dataclass_fields__:
        assert np.array_equal(getattr(one, field), getattr(other, field)), field


def test_parts_on_disk_say_what_one_state_says(tmp_path):
    rows = honest(90)
    table = texts_table([*rows, *((edited(rows[i][0], 1, i), "spam") for i in range(30)), *rows[:20]])
    views = views_of(table, TEXT)
    for number, start in enumerate(range(0, 140, 33)):
        records.save(UNIT.start(table.slice(start, 33), views), tmp_path / f"{number}.npz")
    view = UNIT.finish_parts(records.MappedParts(NearDuplicatesState, tuple(sorted(tmp_path.glob("*.npz")))), views)
    assert view.size.sum() >= 40
    assert_same(view, UNIT.finish(UNIT.start(table, views), views))


def test_more_parts_than_files_that_may_be_open(tmp_path):
    rows = honest(100)
    table = texts_table([*rows, *((edited(rows[i][0], 1, i), "spam") for i in range(50))])
    views = views_of(table, TEXT)
    for number in range(150):
        records.save(UNIT.start(table.slice(number, 1), views), tmp_path / f"{number:03d}.npz")
    parts = records.MappedParts(NearDuplicatesState, 20 * tuple(sorted(tmp_path.glob("*.npz"))))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    try:
        view = UNIT.finish_parts(parts, views)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert (view.seen, view.compared) == (3000, 150)
    assert view.copies.min() == 20


def test_what_datasketchs_lsh_proposes_is_joined_and_nothing_else_is():
    """Its 32 bands are the first 32 of ours, so the same verification finds among its pairs a subset of ours."""
    rows = honest(300)
    long = [" ".join(t for t, _ in rows[i : i + 3]) for i in range(0, 300, 3)]
    texts = [*long, *(edited(text, 1 + i % 12, i) for i, text in enumerate(long))]
    view = view_of(table := texts_table([(t, "ham") for t in texts]))
    place = view.place(table)
    ours = {(a, b) for a in range(200) for b in range(a) if place[a] >= 0 <= place[b] and view.cluster[place[a]] == view.cluster[place[b]]}
    index = MinHashLSH(num_perm=PERMUTATIONS, params=(32, 4))
    values = np.asarray(table.column("minhash").combine_chunks().flatten(), np.uint32).reshape(-1, PERMUTATIONS)
    theirs = [MinHash(num_perm=PERMUTATIONS, seed=SEED, scheme=SCHEME, hashvalues=v) for v in values]
    for i, signature in enumerate(theirs):
        index.insert(i, signature)
    least = UNIT.jaccard - UNIT.error
    found = {(a, b) for a in range(200) for b in index.query(theirs[a]) if b < a and theirs[a].jaccard(theirs[b]) >= least}
    assert len(found) > 60
    assert found <= ours
    assert ours <= {(i + 100, i) for i in range(100)}


def test_boilerplate_costs_no_more_than_its_number_and_hides_no_copies():
    rows = honest(200)
    footer = " ".join(f"boilerplate{i}" for i in range(60))  # most of every text, but no near-copies: about 0.45 alike
    texts = [f"{text} {rows[i - 1][0]} {footer}" for i, (text, _) in enumerate(rows)]
    copies = [edited(text, 3, i) for i, text in enumerate(texts)]
    view = view_of(table := texts_table([(t, "ham") for t in [*texts, *copies]]))
    cluster = view.cluster[view.place(table)]
    assert (cluster[:200] == cluster[200:]).mean() > 0.98


def test_what_was_not_compared_is_said():
    table = texts_table(honest(100))
    view = view_of(table, unit=NearDuplicates(exact=60, near=30))
    assert (view.seen, view.looked_at, view.compared) == (100, 60, 30)


def test_state_survives_the_disk_and_stays_small(tmp_path):
    table = texts_table(honest(30) + honest(30))
    views = views_of(table, TEXT)
    records.save(UNIT.start(table, views), tmp_path / "state.npz")
    assert UNIT.finish(records.load(NearDuplicatesState, tmp_path / "state.npz"), views).size.sum() == 60
    assert (tmp_path / "state.npz").stat().st_size / 60 * PART_ROWS < 64e6


def test_an_empty_table_has_an_empty_view():
    view = view_of(texts_table(honest(3)).slice(0, 0))
    assert (view.seen, len(view.rank), len(view.size)) == (0, 0, 0)
