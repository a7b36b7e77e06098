from __future__ import annotations

import numpy as np
import pyarrow as pa

from dataaudit.features import Batch, embedding
from dataaudit.features.target_embedding import TargetEmbedding
from dataaudit.model import Columns, Plan, Sample


def test_equal_answers_have_equal_vectors_and_a_missing_one_has_none() -> None:
    plan = Plan("instructions", Columns("prompt", "response"), "text", "hashed", "11" * 16)
    answers = ["yes, of course", "yes, of course", "the capital of France", None]
    samples = [Sample(str(i), str(i), "question", answer, i, 1) for i, answer in enumerate(answers)]
    table = pa.table({"target_embedding": TargetEmbedding().compute(Batch(samples, plan))})
    fixed = embedding.from_column(table, "target_embedding")
    assert np.array_equal(fixed[0], fixed[1])
    assert not np.array_equal(fixed[0], fixed[2])
    assert not fixed[3].any()
