"""Both towers of an open_clip model: graph and torch agree, and no vector depends on its batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dataaudit.errors import EncoderError
from dataaudit.features.embedding import quantise
from dataaudit.features.encoders import open_clip as module
from dataaudit.features.encoders.attestation import TEXTS, pictures
from dataaudit.features.encoders.open_clip import Graph, Tower, batch_size, load
from dataaudit.features.encoders.weights import find, parse
from tests.features.encoders import tiny


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAAUDIT_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("images", [True, False], ids=["image", "text"])
def test_graph_and_torch_agree_and_no_vector_depends_on_its_batch(tmp_path: Path, images: bool) -> None:
    name = f"open_clip:{tiny.MODEL}/{tiny.write(tmp_path)}"
    items = pictures()[:7] if images else list(TEXTS[:7])
    graph = load(name, images)
    assert isinstance(graph, Graph)
    together = graph.encode(items)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    assert np.array_equal(together, np.concatenate([graph.encode([item]) for item in items]))
    spec = parse(name)
    torch = Tower(name, 16, images, graph.prepare, module.tower(spec, {}, find(spec), images), "cpu", 4)
    assert np.array_equal(torch.encode(items)[::-1], torch.encode(items[::-1]))
    assert np.abs(quantise(torch.encode(items)).astype(int) - quantise(together)).max() <= 1
    assert graph.encode([]).shape == torch.encode([]).shape == (0, 16)


def test_a_graph_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"open_clip:{tiny.MODEL}/{tiny.write(tmp_path)}"
    first = load(name, True).encode(pictures()[:2])
    monkeypatch.setattr(module, "tower", lambda *_: pytest.fail("the model was built again"))
    assert np.array_equal(load(name, True).encode(pictures()[:2]), first)


def test_what_cannot_be_a_graph_is_run_by_torch_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST_GRAPH", 1)
    encoder = load(f"open_clip:{tiny.MODEL}/{tiny.write(tmp_path)}", False)
    assert isinstance(encoder, Tower)
    assert (encoder.batch, encoder.runs_on) == (1, "torch, float32 on the CPU")


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"visual.proj": tiny.tensors(tmp_path)["visual.proj"]}, tmp_path / "part.safetensors")
    with pytest.raises(EncoderError, match="cannot be loaded"):
        load(f"open_clip:{tiny.MODEL}/{tmp_path / 'part.safetensors'}", True)


def test_an_unknown_model_is_said() -> None:
    with pytest.raises(EncoderError, match="no model 'nothing'"):
        load("open_clip:nothing/tag", True)


def test_batches_fit_into_half_of_the_memory() -> None:
    assert [batch_size(free) for free in (0, 300 << 20, 5 << 30, 80 << 30)] == [1, 2, 32, 64]
