"""What candidates find in the whole data set: counted row by row here, from sums of any shards there."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cache, reduce
from itertools import combinations
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from dataaudit.aggregates.moments import Moments, pooled_within
from dataaudit.aggregates.pixel_evidence import EDGES, MOST_DOUBT
from dataaudit.aggregates.pixel_groups import MAPPED, STEPS, PixelGroups, PixelGroupsView, belongings, cumulate, robust_z, steps
from dataaudit.aggregates.pixel_models import CONTRADICTED
from dataaudit.aggregates.targets import Targets
from dataaudit.features import embedding
from dataaudit.features.embedding import quantise, to_column
from dataaudit.model import Columns, Plan

PLAN = Plan("labelled-images", Columns("png", "cls"), "label", "efficientnet-lite2", "01" * 16)
UNIT = PixelGroups()
LABELS, ROWS = 3, 400


@dataclass(frozen=True, eq=False)
class Family:
    """Stands for models: its candidates' scores are columns of the table."""

    columns: tuple[str, ...]
    target: NDArray[np.int32]
    middle: NDArray[np.float64]
    scale: NDArray[np.float64]

    @property
    def seeds(self) -> tuple[str, ...]:
        return self.columns

    @property
    def kinship(self) -> NDArray[np.float64]:
        return np.repeat(self.scale[:, None], len(EDGES), axis=1)

    def robust_z(self, table: pa.Table, target: NDArray[np.int32]) -> NDArray[np.float64]:
        raw = np.array([np.asarray(table.column(name)) for name in self.columns]).reshape(len(self.columns), table.num_rows).T
        z = (raw - self.middle.T[np.maximum(target, 0)]) / self.scale
        z[target < 0] = -np.inf
        return np.asarray(z)


NOBODY = Family((), np.empty(0, np.int32), np.empty((0, LABELS)), np.empty(0))
TWO = Family(("first", "second"), np.array([0, LABELS], np.int32), np.array([[0.0, 1.0, -2.0], [1.0, 1.0, 1.0]]), np.array([1.0, 1.5]))
ONE = Family(("third",), np.array([2], np.int32), np.array([[4.0, 0.0, 0.0]]), np.array([0.5]))


@cache
def table() -> pa.Table:
    """Three labels, twenty rows without one, every sixth label wrong; scores of three candidates, some of them high."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, LABELS, ROWS)
    label = np.where(np.arange(ROWS) % 6 == 0, (truth + 1) % LABELS, truth)
    vectors = 2 * np.eye(LABELS, 12)[truth] + 0.3 * rng.normal(size=(ROWS, 12))
    scores = {name: rng.normal(size=ROWS) + rng.choice([0.0, 6.0, 30.0], ROWS, p=[0.6, 0.2, 0.2]) for name in ("first", "second", "third")}
    return pa.table(
        {
            "target": pa.array([f"class {v}" if i % 20 else None for i, v in enumerate(label)], pa.string()),
            "rank": pa.array(rng.integers(0, 2**63, ROWS), pa.uint64()),
            "embedding": to_column(quantise(vectors)),
            **{name: pa.array(values) for name, values in scores.items()},
        }
    )


@cache
def earlier(first: Family = TWO, second: Family = ONE) -> dict[str, Any]:
    views: dict[str, Any] = {"plan": PLAN}
    for name, unit in {"targets": Targets(), "moments": Moments(axes=2)}.items():
        views[name] = unit.finish(unit.start(table(), views), views)  # type: ignore[attr-defined]
    return {**views, "pixel_models": first, "patch_models": second}


def grouped(pieces: list[pa.Table], views: dict[str, Any]) -> PixelGroupsView:
    return UNIT.finish(reduce(UNIT.merge, [UNIT.start(piece, views) for piece in pieces]), views)


@dataclass(frozen=True)
class Facts:
    """Of each row: its label (-1 for none), the label its content has, how much they disagree, its unit vector and its z's."""

    target: NDArray[np.int32]
    looks: NDArray[np.int64]
    doubt: NDArray[np.float64]
    vector: NDArray[np.float64]
    z: NDArray[np.float64]


@cache
def facts() -> Facts:
    views = earlier()
    rank, stored = np.asarray(table().column("rank")), embedding.from_column(table())
    looks = views["moments"].log_posterior(stored, rank).argmax(axis=1)
    doubt = views["moments"].disagreement(table(), views)
    return Facts(views["targets"].index(table()), looks, doubt, stored / embedding.SCALE, robust_z(table(), views))


def accused(candidate: int) -> NDArray[np.bool_]:
    target = (0, LABELS, 2)[candidate]
    return np.asarray(facts().doubt >= CONTRADICTED if target == LABELS else facts().target == target)


def test_bins_add_up_from_above() -> None:
    assert cumulate(np.array([[1, 2, 3]])).tolist() == [[6, 5, 3]]


def test_doubt_is_whole_and_capped() -> None:
    assert steps(np.array([0.0, 1.0, 1e6])).tolist() == [0, STEPS, int(MOST_DOUBT * STEPS)]


def test_candidates_of_all_families_are_numbered_in_their_order() -> None:
    view = grouped([table()], earlier())
    assert view.target.tolist() == [0, LABELS, 2]
    assert view.seeds == ("first", "second", "third")
    assert view.kinship[:, 0].tolist() == [1.0, 1.5, 0.5]


@pytest.mark.parametrize("candidate", range(3))
def test_hits_are_counted_beyond_each_edge(candidate: int) -> None:
    view, mine, z = grouped([table()], earlier()), accused(candidate), facts().z[:, candidate]
    assert view.inside[candidate].tolist() == [int((mine & (z >= edge)).sum()) for edge in EDGES]
    assert (view.outside[candidate] >= [int((~mine & (z >= edge)).sum()) for edge in EDGES]).all()
    assert view.inside[candidate, 0] > 10


def test_a_caption_with_the_accused_word_behind_another_is_no_witness() -> None:
    """Rows of label 1 whose caption names label 0 too are neither inside nor outside."""
    views = earlier()
    index = views["targets"].index(table())

    def having(rows: pa.Table, wanted: NDArray[np.int32]) -> NDArray[np.bool_]:
        own = views["targets"].index(rows)[:, None]
        return np.asarray((own == wanted) | ((own == 1) & (wanted == 0)))

    said = SimpleNamespace(names=views["targets"].names, index=views["targets"].index, having=having)
    lenient, strict = (grouped([table()], {**views, "targets": targets}) for targets in (said, views["targets"]))
    z = facts().z[:, 0]
    assert np.array_equal(lenient.inside, strict.inside)
    assert strict.outside[0, 0] >= ((index > 0) & (z >= EDGES[0])).sum()
    assert lenient.outside[0, 0] < strict.outside[0, 0]
    assert np.array_equal(lenient.outside[1:], strict.outside[1:])


def test_a_model_that_merely_tells_labels_apart_has_many_hits_outside() -> None:
    """By their own label's middle no row of another label stands out, by the accused one's all of them do."""
    lower = dataclasses.replace(TWO, columns=("first", "first"), middle=np.array([[-50.0, 0.0, 0.0], [0.0] * 3]), scale=np.full(2, 5.0))
    view = grouped([table()], earlier(lower, NOBODY))
    assert view.outside[0, 0] == (facts().target > 0).sum()
    plain = dataclasses.replace(lower, middle=np.zeros((2, 3)))
    assert grouped([table()], earlier(plain, NOBODY)).outside[0, 0] < view.outside[0, 0] / 2


@pytest.mark.parametrize("candidate", range(3))
def test_contradiction_is_the_mean_capped_doubt_of_the_hits(candidate: int) -> None:
    view, mine, z = grouped([table()], earlier()), accused(candidate), facts().z[:, candidate]
    capped = np.minimum(facts().doubt, MOST_DOUBT) / MOST_DOUBT
    expected = [capped[mine & (z >= edge)].mean() if (mine & (z >= edge)).any() else 0 for edge in EDGES]
    assert_allclose(view.contradiction[candidate], expected, atol=1 / STEPS)


@pytest.mark.parametrize("candidate", range(3))
def test_coherence_is_the_mean_cosine_of_all_pairs_of_hits(candidate: int) -> None:
    view, mine, z = grouped([table()], earlier()), accused(candidate), facts().z[:, candidate]
    for at in (0, 7):
        hits = facts().vector[mine & (z >= EDGES[at])]
        cosines = [float(a @ b) for a, b in combinations(hits, 2)]
        assert view.coherence[candidate, at] == pytest.approx(np.mean(cosines), abs=1e-3)


@pytest.mark.parametrize("candidate", [0, 2])
def test_belonging_is_where_the_hits_lie_between_other_labels_and_the_rest_of_their_own(candidate: int) -> None:
    view, known = grouped([table()], earlier()), facts()
    labelled = known.target >= 0
    for at in (0, 6):
        hits = accused(candidate) & (known.z[:, candidate] >= EDGES[at])
        others = known.vector[labelled & ~accused(candidate)].mean(axis=0)
        axis = known.vector[accused(candidate) & ~hits].mean(axis=0) - others
        place = ((known.vector - others) @ axis / (axis @ axis))[hits].mean()
        assert view.belonging[candidate, at] == pytest.approx(place, abs=0.03)
        assert 0 < view.belonging_error[candidate, at] < 0.2


@pytest.mark.parametrize("separate", [0.0, 0.3, 2.0])
def test_a_random_part_of_a_label_belongs_to_it_or_content_cannot_tell(separate: float) -> None:
    rng = np.random.default_rng(0)
    size, dimensions, hits = 100, 200, 25
    centres = np.zeros((3, dimensions))
    centres[np.arange(3), np.arange(3)] = separate
    rows = centres[:, None] + rng.normal(size=(3, size, dimensions)) / np.sqrt(dimensions)
    means, within = pooled_within(rows.sum(axis=1), np.full(3, size), np.einsum("lni,lnj->ij", rows, rows))
    moments: Any = SimpleNamespace(counts=np.full(3, size), means=means, within=within)
    place, error = belongings(rows[0, :hits].sum(axis=0)[None, None], np.array([[hits]]), np.zeros(1, np.int32), moments)
    if separate == 0:
        assert (place[0, 0], error[0, 0]) == (1.0, np.inf)
    else:
        assert place[0, 0] == pytest.approx(1, abs=4 * error[0, 0])
        assert error[0, 0] < 0.3


def test_nothing_belongs_or_not_where_there_is_nothing_to_compare_with() -> None:
    view = grouped([table()], earlier())
    assert (view.belonging[1] == 1).all()
    assert np.isinf(view.belonging_error[1]).all()


def test_foreign_is_what_others_would_contradict_and_own_what_a_label_does() -> None:
    view, views, f = grouped([table()], earlier()), earlier(), facts()
    log_p = views["moments"].log_posterior(embedding.from_column(table()), np.asarray(table().column("rank")))
    as_label = np.minimum(-log_p, MOST_DOUBT) / MOST_DOUBT
    for label in range(LABELS):
        others = (f.target >= 0) & (f.target != label)
        assert view.foreign[label] == pytest.approx(as_label[others, label].mean(), abs=1 / STEPS)
        assert view.own[label] == pytest.approx(as_label[f.target == label, label].mean(), abs=1 / STEPS)
    counts = np.bincount(f.target[f.target >= 0])
    assert view.foreign[-1] == pytest.approx(np.average(view.foreign[:-1], weights=counts))
    assert view.own[-1] == pytest.approx(np.average(view.own[:-1], weights=counts))
    assert view.own.max() < 0.3 < 0.7 < view.foreign.min()


def test_contradicted_hits_are_mapped_from_what_they_look_like_to_what_they_are_called() -> None:
    view, f = grouped([table()], earlier()), facts()
    assert view.contradicted == (f.doubt >= CONTRADICTED).sum()
    expected = np.zeros((LABELS, LABELS), int)
    for row in np.flatnonzero((f.z[:, 1] >= MAPPED) & (f.doubt >= CONTRADICTED)):
        expected[f.looks[row], f.target[row]] += 1
    assert expected.sum() > 3
    assert_array_equal(view.mapping, expected[None])


def test_rows_without_a_label_are_no_hits() -> None:
    unlabelled = table().filter(pa.array(facts().target < 0))
    state = UNIT.start(unlabelled, earlier())
    assert unlabelled.num_rows == ROWS // 20
    for name in ("inside", "outside", "alien", "doubt", "foreign", "own", "mapping", "contradicted"):
        assert not np.any(getattr(state, name)), name


def test_without_candidates_there_is_nothing_to_count() -> None:
    view = grouped([table().slice(0, 100), table().slice(100)], earlier(NOBODY, NOBODY))
    assert view.inside.shape == (0, len(EDGES))
    assert view.mapping.shape == (0, LABELS, LABELS)
    assert view.seeds == ()


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.sets(st.integers(1, ROWS - 1), max_size=6))
def test_any_pieces_merged_in_any_order_give_the_same_bits(seed: int, cuts: set[int]) -> None:
    order = np.random.default_rng(seed).permutation(ROWS)
    pieces = [table().take(pa.array(part)) for part in np.split(order, sorted(cuts))]
    one, other = grouped(pieces, earlier()), grouped([table()], earlier())
    for field in dataclasses.fields(one):
        assert_array_equal(getattr(one, field.name), getattr(other, field.name), err_msg=field.name)
