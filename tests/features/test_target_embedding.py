from __future__ import annotations

import numpy as np
import pyarrow as pa

from dataaudit.features import Batch, embedding
from dataaudit.features.target_embedding import TargetEmbedding, halves
from dataaudit.model import Columns, Plan, Sample, preference


def test_equal_answers_have_equal_vectors_and_a_missing_one_has_none() -> None:
    plan = Plan("instructions", Columns("prompt", "response"), "text", "hashed", "11" * 16)
    answers = ["yes, of course", "yes, of course", "the capital of France", None]
    samples = [Sample(str(i), str(i), "question", answer, i, 1) for i, answer in enumerate(answers)]
    table = pa.table({"target_embedding": TargetEmbedding().compute(Batch(samples, plan))})
    fixed = embedding.from_column(table, "target_embedding")
    assert np.array_equal(fixed[0], fixed[1])
    assert not np.array_equal(fixed[0], fixed[2])
    assert not fixed[3].any()


def test_swapping_the_answers_of_a_preference_negates_its_contrast() -> None:
    plan = Plan("instructions", Columns("prompt", "chosen/rejected"), "text", "hashed", "11" * 16)
    good, bad = "the capital of France is Paris", "no idea"
    targets = [preference(good, bad), preference(bad, good), preference(good, "of course it is Rome")]
    samples = [Sample(str(i), str(i), "what is the capital of France", target, i, 1) for i, target in enumerate(targets)]
    table = pa.table({"target_embedding": TargetEmbedding().compute(Batch(samples, plan))})
    chosen, contrasts = halves(embedding.from_column(table, "target_embedding"))
    assert contrasts.shape[1] == chosen.shape[1] + 2
    assert np.array_equal(contrasts[0], -contrasts[1])
    assert (contrasts[0][-2:] > 0).all()
    assert np.array_equal(chosen[0], chosen[2])
    assert Batch(samples, plan).answers == [good, bad, good]
