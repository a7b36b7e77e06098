"""Moments: any sharding gives the same bits, and the content tells the target."""

import dataclasses
import itertools

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from dataaudit.aggregates.moments import Moments
from dataaudit.aggregates.targets import Targets
from dataaudit.features.embedding import quantise, to_column
from dataaudit.model import Columns, Plan

PLAN = Plan("vectors", Columns(None, "label", embedding="v"), "label", "given", "00" * 16)


def labelled_vectors(rows: int, seed: int = 0, labels: int = 3, width: int = 24) -> tuple[pa.Table, np.ndarray]:
    """Three clouds on the sphere, and which rows got a wrong label."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, labels, rows)
    vectors = rng.normal(size=(labels, width))[truth] + rng.normal(size=(rows, width))
    wrong = rng.random(rows) < 0.05
    target = np.where(wrong, (truth + 1) % labels, truth)
    names = pa.array([f"class {t}" for t in target])
    rank = pa.array(rng.integers(0, 2**63, rows), pa.uint64())
    return pa.table({"embedding": to_column(quantise(vectors)), "target": names, "rank": rank}), wrong


def views_of(table: pa.Table, pieces: list[pa.Table]) -> dict[str, object]:
    views: dict[str, object] = {"plan": PLAN}
    for name, unit in {"targets": Targets(), "moments": Moments(axes=4)}.items():
        state = None
        for piece in pieces:
            started = unit.start(piece, views)
            state = started if state is None else unit.merge(state, started)
        views[name] = unit.finish(state, views)
    return views


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 119), max_size=5), st.randoms())
def test_any_sharding_in_any_order_gives_the_same_view_and_the_same_disagreement(cuts: list[int], random: object) -> None:
    table, _ = labelled_vectors(120)
    edges = [0, *sorted(set(cuts)), 120]
    pieces = [table.slice(a, b - a) for a, b in itertools.pairwise(edges)]
    random.shuffle(pieces)  # type: ignore[attr-defined]
    whole, cut = views_of(table, [table]), views_of(table, pieces)
    for field in dataclasses.fields(whole["moments"]):  # type: ignore[arg-type]
        assert np.array_equal(getattr(whole["moments"], field.name), getattr(cut["moments"], field.name)), field.name
    together = whole["moments"].disagreement(table, whole)  # type: ignore[attr-defined]
    apart = [cut["moments"].disagreement(piece, cut) for piece in (table.slice(0, 1), table.slice(1))]  # type: ignore[attr-defined]
    assert np.array_equal(together, np.concatenate(apart))


def test_wrong_labels_disagree_with_their_content() -> None:
    table, wrong = labelled_vectors(1500)
    views = views_of(table, [table])
    disagreement = views["moments"].disagreement(table, views)  # type: ignore[attr-defined]
    assert np.median(disagreement[wrong]) > 2.0
    assert np.median(disagreement[~wrong]) < 0.2
    assert views["moments"].target_coherence.min() > views["moments"].coherence  # type: ignore[attr-defined]


def test_rows_without_a_target_are_no_evidence_and_do_no_harm() -> None:
    table, _ = labelled_vectors(300)
    nobody = table.set_column(table.column_names.index("target"), "target", pa.nulls(300, pa.string()))
    views = views_of(nobody, [nobody])
    assert not views["moments"].disagreement(nobody, views).any()  # type: ignore[attr-defined]
    assert views["moments"].projection.shape == (24, 4)  # type: ignore[attr-defined]
