from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dataaudit.errors import EncoderError
from dataaudit.features.encoders import text

TEXTS = ["a cat sat on the mat", "the kitten was on the rug", "cheap pills, click here now!!!", "", "x " * 500]


@pytest.mark.parametrize("encoder", [text.MiniLM(), text.Hashed()], ids=["minilm", "hashed"])
def test_a_vector_does_not_depend_on_its_batch_to_the_bit(encoder: text.MiniLM | text.Hashed) -> None:
    together = encoder.encode(TEXTS)
    alone = np.concatenate([encoder.encode([t]) for t in TEXTS])
    backwards = encoder.encode(TEXTS[::-1])[::-1]
    assert together.shape == (len(TEXTS), encoder.width)
    assert together.dtype == np.float32
    assert np.array_equal(together, alone)
    assert np.array_equal(together, backwards)


def test_minilm_knows_what_is_alike() -> None:
    v = text.MiniLM().encode(TEXTS[:3])
    assert v[0] @ v[1] > 0.4 > v[0] @ v[2]
    assert np.allclose(np.linalg.norm(v, axis=1), 1, atol=1e-5)


def test_nothing_to_encode_is_no_error() -> None:
    assert text.MiniLM().encode([]).shape == (0, 384)
    assert not text.Hashed().encode([""]).any()


def test_altered_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"not the weights")
    monkeypatch.setenv("DATAAUDIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(text, "_package", lambda: tmp_path)
    with pytest.raises(EncoderError, match="SHA-256"):
        text._graph()
