"""Windows follow one another in short texts and lie spread in long ones, whatever the batch."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dataaudit.features import Batch
from dataaudit.features.characters import pairs
from dataaudit.features.windows import PAIRS, WINDOWS, Windows, starts
from dataaudit.model import Columns, Plan, Sample

PLAN = Plan("text", Columns("x"), "none", "hashed", "33" * 16)


def computed(*texts: str) -> list[list[int]]:
    return Windows().compute(Batch([Sample(str(i), str(i), t, None, i, 1) for i, t in enumerate(texts)], PLAN)).to_pylist()


def test_a_short_text_is_cut_into_windows_without_the_pairs_between_them():
    text = "the quick brown fox jumps over the lazy dog and runs"
    assert computed(text) == [[*pairs(text[:32]).tolist(), *pairs(text[32:]).tolist()]]


def test_a_long_text_is_bounded_and_seen_at_both_ends():
    [codes] = computed("a" * 500_000 + "zq" * 16)
    assert len(codes) == WINDOWS * PAIRS
    assert codes[-1] == pairs("zq").tolist()[0]
    assert (starts(10_000)[0], starts(10_000)[-1]) == (0, 10_000 - 32)


@given(st.lists(st.text(max_size=700), max_size=6))
def test_the_batch_makes_no_difference(texts):
    assert computed(*texts) == [computed(text)[0] for text in texts]
