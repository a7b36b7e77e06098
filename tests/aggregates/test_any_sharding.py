"""Any sharding, any order, the same view: every aggregate, on every kind of data that has it, to the bit."""

import dataclasses
from functools import cache, reduce

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataaudit.discovery import units
from dataaudit.features import Batch
from dataaudit.features.table import available, tabulate
from dataaudit.model import Columns, Plan, Sample
from dataaudit.stages.aggregate import schedule
from tests.planted import corpus, poison

AGGREGATES = units("dataaudit.aggregates")
DETECTORS = units("dataaudit.detectors")
SALT = "0" * 32
PLANS = {
    "labelled-text": Plan("labelled-text", Columns("text", "label"), "label", "hashed", SALT),
    "instructions": Plan("instructions", Columns("prompt", "response"), "text", "hashed", SALT),
    "vectors": Plan("vectors", Columns(None, "label", None, "vector"), "label", "given", SALT),
    "labelled-images": Plan("labelled-images", Columns("png", "cls"), "label", "efficientnet-lite2", SALT),
}


@cache
def table(modality):
    """The feature table of 240 samples (60 images, which are slower)."""
    plan = PLANS[modality]
    rng = np.random.default_rng(5)
    rows = poison(corpus(240), 12)
    images = ()
    if modality == "labelled-images":
        rows = rows[:60]
        images = [rng.integers(0, 256, (20, 20, 3), dtype=np.uint8) for _ in rows]
    samples = [
        Sample(
            id=f"a#{i}",
            key=str(i),
            content=images[i].tobytes() if len(images) else (None if modality == "vectors" else r["text"]),
            target=r["label"] if plan.target_kind == "label" else f"{r['label']} {r['text'][:60]}",
            offset=i,
            length=1,
            vector=rng.normal(size=32).astype(np.float32) if modality == "vectors" else None,
        )
        for i, r in enumerate(rows)
    ]
    return tabulate(Batch(samples, plan, images), available(modality))


@cache
def wanted(modality):
    """The aggregates that detectors want on such data, in an order in which they can be made."""
    looking = [unit() for unit in DETECTORS.values()]
    names = {need for d in looking if d.unavailable(PLANS[modality]) is None for need in d.needs}
    return [name for wave in schedule(sorted(names)) for name in wave]


@cache
def views(modality):
    """Every view, from the whole table at once."""
    made = {"plan": PLANS[modality]}
    for name in wanted(modality):
        made[name] = view(name, [table(modality)], made)
    return made


def view(name, parts, made):
    unit = AGGREGATES[name]()
    return unit.finish(reduce(unit.merge, [unit.start(p, made) for p in parts]), made)


def same(a, b):
    for field in dataclasses.fields(a):
        left, right = getattr(a, field.name), getattr(b, field.name)
        np.testing.assert_array_equal(left, right, err_msg=f"{type(a).__name__}.{field.name}")


@st.composite
def sharding(draw, rows):
    """The rows in some order, cut at some places."""
    order = np.random.default_rng(draw(st.integers(0, 2**32))).permutation(rows)
    cuts = sorted(draw(st.sets(st.integers(1, rows - 1), max_size=6)))
    return [part.tolist() for part in np.split(order, cuts)]


@pytest.mark.parametrize(("modality", "name"), [(m, n) for m in PLANS for n in wanted(m)])
def test_any_sharding_any_order_the_same_view(modality, name):
    whole = table(modality)

    @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(sharding(whole.num_rows))
    def check(shards):
        same(view(name, [whole.take(pa.array(rows)) for rows in shards], views(modality)), views(modality)[name])

    check()
