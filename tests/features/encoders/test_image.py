"""The image encoders: no vector depends on its batch, altered weights are refused, open_clip loads local safetensors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dataaudit.errors import ConfigurationError, EncoderError
from dataaudit.features import encoders
from dataaudit.features.encoders.image import WEIGHTS_SHA256, check


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


def test_open_clip_loads_a_local_safetensors_file_for_both_towers(tmp_path: Path) -> None:
    open_clip = pytest.importorskip("open_clip")
    from safetensors.torch import save_file

    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
    }
    (tmp_path / "tiny-random.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "tiny-random.json")
    weights = tmp_path / "tiny.safetensors"
    save_file({k: v.contiguous() for k, v in open_clip.create_model("tiny-random").state_dict().items()}, weights)
    seen = encoders.load(f"open_clip:tiny-random/{weights}", "images").encode(images(3))
    read = encoders.load(f"open_clip:tiny-random/{weights}", "texts").encode(["a cat", "a dog"])
    assert (seen.shape, read.shape) == ((3, 16), (2, 16))
    assert np.allclose(np.linalg.norm(seen, axis=1), 1, atol=1e-5)
    encoders.load.cache_clear()
    weights.write_bytes(b"\x80\x04not safetensors")
    with pytest.raises(EncoderError, match="safetensors"):
        encoders.load(f"open_clip:tiny-random/{weights}", "texts")
    with pytest.raises(EncoderError, match="not a file"):
        encoders.load("open_clip:tiny-random/nowhere.safetensors", "texts")
