"""The image encoders: no vector depends on its batch, altered weights are refused, open_clip loads local safetensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dataaudit.errors import ConfigurationError, EncoderError
from dataaudit.features import encoders
from dataaudit.features.encoders.image import WEIGHTS_SHA256, check
from tests.features.encoders import tiny


def images(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3)).astype(np.uint8))


def test_a_vector_does_not_depend_on_the_batch_it_came_in() -> None:
    encoder = encoders.load("efficientnet-lite2", "images")
    together = encoder.encode(images(11))
    alone = np.concatenate([encoder.encode([image]) for image in images(11)])
    assert np.array_equal(together, alone)
    assert together.shape == (11, encoder.width)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    assert encoders.load("efficientnet-lite2", "images") is encoder


def test_altered_weights_are_refused(tmp_path: Path) -> None:
    altered = tmp_path / "weights.pth"
    altered.write_bytes(b"something else")
    with pytest.raises(EncoderError, match="expected " + WEIGHTS_SHA256[:8]):
        check(altered, WEIGHTS_SHA256)


def test_unknown_encoders_are_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="efficientnet-lite2"):
        encoders.load("minilm", "images")


def test_open_clip_loads_a_local_safetensors_file_for_both_towers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAAUDIT_CACHE", str(tmp_path / "cache"))
    weights = tiny.write(tmp_path)
    seen = encoders.load(f"open_clip:{tiny.MODEL}/{weights}", "images").encode(images(3))
    read = encoders.load(f"open_clip:{tiny.MODEL}/{weights}", "texts").encode(["a cat", "a dog"])
    assert (seen.shape, read.shape) == ((3, 16), (2, 16))
    assert np.allclose(np.linalg.norm(seen, axis=1), 1, atol=1e-5)
    encoders.load.cache_clear()
    weights.write_bytes(b"\x80\x04not safetensors")
    with pytest.raises(EncoderError, match="safetensors"):
        encoders.load(f"open_clip:{tiny.MODEL}/{weights}", "texts")
    with pytest.raises(EncoderError, match="not a file"):
        encoders.load(f"open_clip:{tiny.MODEL}/nowhere.safetensors", "texts")
