"""The ways to run each encoder that are measured beside each other: ours, torch, and what else could run it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataaudit.features import encoders
from dataaudit.features.encoders import Encoder, Sees, image, open_clip, text
from dataaudit.features.encoders.open_clip import Graph, Tower
from dataaudit.features.encoders.weights import find, parse

Encode = Callable[[Sequence[Any]], NDArray[np.float32]]
Ways = Mapping[str, Encode]
OURS, EAGER = "ours", "torch eager"
BATCH = 8


@dataclass(frozen=True)
class OpenVino:
    """A graph run by OpenVINO in place of onnxruntime; needs `pip install openvino`, which the project does not."""

    compiled: Any

    def run(self, names: None, given: Mapping[str, Any]) -> list[Any]:
        return [self.compiled(given["items"])[0]]


def embedded(name: str, sees: Sees) -> Ways:
    """The encoder from a package, and torch with the same weights where there are any."""
    ours = encoders.load(name, sees)
    if name == "efficientnet-lite2":
        eager = Tower(name, ours.width, True, image.prepare, lite2(), "cpu", BATCH)
        return {OURS: ours.encode, EAGER: eager.encode}
    if name == "minilm":
        return {OURS: ours.encode, EAGER: minilm(ours)}
    return {OURS: ours.encode}


def lite2() -> Any:
    """EfficientNet-Lite2 in torch, as it is exported."""
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = EfficientNet.from_name("efficientnet-lite2").eval()
            self.network.load_state_dict(torch.load(image._weights(), map_location="cpu", weights_only=True))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.normalize(self.network.extract_features(images).mean((2, 3)), dim=1)

    return Pooled().eval()


def minilm(ours: Any) -> Encode:
    """MiniLM in torch, a text at a time as ours does, since padding costs more than a batch gains."""
    import json

    import torch
    from safetensors.torch import load_file

    package = text._package()
    config = json.loads((package / "config.json").read_text())
    forward = text._Bert(
        load_file(package / "model.safetensors"), config["num_hidden_layers"], config["num_attention_heads"], config["layer_norm_eps"]
    )

    def encode(items: Sequence[str]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return np.concatenate([forward(torch.tensor([ours._tokenizer.encode(item).ids])).numpy() for item in items])

    return encode


def random_weights(model: str, folder: Path) -> Path:
    """A safetensors file of a model's random weights: speed does not depend on them."""
    import open_clip as library
    import torch
    from safetensors.torch import save_file

    path = folder / f"random-{model}.safetensors"
    if not path.exists():
        torch.manual_seed(0)
        folder.mkdir(parents=True, exist_ok=True)
        save_file({k: v.clone().contiguous() for k, v in library.create_model(model).state_dict().items()}, path.with_suffix(".part"))
        path.with_suffix(".part").rename(path)
    return path


def tower(model: str, sees: Sees, folder: Path, others: Sequence[str]) -> Iterator[tuple[str, Encode]]:
    """A tower of an open_clip model with random weights; `others` of `OTHERS` adds what was tried and not taken."""
    name = f"open_clip:{model}/{random_weights(model, folder)}"
    ours = encoders.load(name, sees)
    yield OURS, ours.encode
    spec = parse(name)
    module = open_clip.tower(spec, {}, find(spec), sees == "images")
    eager = Tower(name, ours.width, sees == "images", ours.prepare, module, "cpu", BATCH)  # type: ignore[attr-defined]
    yield EAGER, eager.encode
    for other in others:
        yield from OTHERS[other](ours, eager)


def one_by_one(ours: Encoder, eager: Tower) -> Iterator[tuple[str, Encode]]:
    """Torch with batches of one, which is what no vector can depend on."""
    yield "torch one by one", replace(eager, batch=1).encode


def compiled(ours: Encoder, eager: Tower) -> Iterator[tuple[str, Encode]]:
    """Torch's own compiler; takes minutes a tower, and a C++ compiler."""
    import torch

    run = replace(eager, module=torch.compile(eager.module, dynamic=False)).encode
    try:
        run(list(open_clip.examples(eager.images)))
    except RuntimeError as error:
        print(f"torch.compile: {type(error).__name__}", flush=True)
        return
    yield "torch.compile", run


def channels_last(ours: Encoder, eager: Tower) -> Iterator[tuple[str, Encode]]:
    """Torch with a copy of the module whose convolutions lie channels last, as its input then does."""
    import torch

    if not eager.images:
        return

    class Last(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.copy = copy.deepcopy(eager.module).to(memory_format=torch.channels_last)

        def forward(self, items: torch.Tensor) -> Any:
            return self.copy(items.contiguous(memory_format=torch.channels_last))

    yield "torch channels_last", replace(eager, module=Last().eval()).encode


def openvino(ours: Encoder, eager: Tower) -> Iterator[tuple[str, Encode]]:
    """OpenVINO with the very graph that onnxruntime runs."""
    try:
        from openvino import Core  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        print("openvino is not installed", flush=True)
        return
    assert isinstance(ours, Graph)
    spec = parse(ours.name)
    path = open_clip.graph_path(spec, {}, find(spec), ours.images)
    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    yield "OpenVINO", replace(ours, session=OpenVino(Core().compile_model(str(path), "CPU", settings))).encode


OTHERS: Mapping[str, Callable[[Encoder, Tower], Iterator[tuple[str, Encode]]]] = {
    "one-by-one": one_by_one,
    "channels-last": channels_last,
    "openvino": openvino,
    "compile": compiled,
}
