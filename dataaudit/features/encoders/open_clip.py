"""Any open_clip model as an encoder, both towers; weights from the hub or a local .safetensors file, never from a pickle (`weights.py`).

On a CPU a tower is exported once to an ONNX graph beside the cache, and onnxruntime takes one item at a time: a batch is a tenth faster on
one core, and a vector could depend on it.  On a GPU torch takes batches of one shape, the last one padded, in bfloat16.
Cherti et al., "Reproducible scaling laws for contrastive language-image learning", CVPR 2023.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataaudit.errors import EncoderError
from dataaudit.features.encoders.image import open_graph
from dataaudit.features.encoders.weights import Spec, Weights, completed, find, parse, published
from dataaudit.model import fingerprint
from dataaudit.store.records import atomic

MAX_CHARACTERS = 4_096
GRAPH_VERSION = 1
LARGEST_GRAPH = 1_900_000_000
"""Bytes of weights in one graph file; protobuf ends at 2 GiB."""
CLOSE = 1e-3
"""How far a graph's vector may be from torch's before the graph is not used."""
LARGEST_BATCH = 64
BYTES_AN_ITEM = 64 << 20
"""Memory on a GPU that an item of a batch is reckoned with: what ViT-L-14 takes, generously."""
ALSO_EXPORTED = (RuntimeError, ValueError, TypeError, NotImplementedError, AssertionError)

Prepare = Callable[[Any], NDArray[Any]]


@dataclass(frozen=True)
class Graph:
    """One tower as an ONNX graph; vectors have unit norm and are made one by one."""

    name: str
    width: int
    images: bool
    prepare: Prepare
    session: Any
    runs_on: str = "onnxruntime, float32 on the CPU"

    def encode(self, items: Sequence[Any]) -> NDArray[np.float32]:
        """Unit vectors, float32 (n, width), of uint8 images (H, W, 3) or of texts."""
        vectors = np.empty((len(items), self.width), np.float32)
        for at, item in enumerate(items):
            vectors[at] = self.session.run(None, {"items": self.prepare(item)[None]})[0][0]
        return vectors


@dataclass(frozen=True)
class Tower:
    """One tower in torch: on a GPU in batches of `batch` items, on a CPU (where there can be no graph) one by one."""

    name: str
    width: int
    images: bool
    prepare: Prepare
    module: Any
    device: str
    batch: int

    @property
    def runs_on(self) -> str:
        """Where, and with which numbers."""
        return "torch, float32 on the CPU" if self.device == "cpu" else f"torch, bfloat16 on {self.device}"

    def encode(self, items: Sequence[Any]) -> NDArray[np.float32]:
        """Unit vectors, float32 (n, width), of uint8 images (H, W, 3) or of texts."""
        vectors = np.empty((len(items), self.width), np.float32)
        for at in range(0, len(items), self.batch):
            part = items[at : at + self.batch]
            vectors[at : at + len(part)] = self._run(padded([self.prepare(item) for item in part], self.batch))[: len(part)]
        return vectors

    def _run(self, prepared: NDArray[Any]) -> NDArray[np.float32]:
        import torch

        with torch.inference_mode(), torch.autocast(self.device, torch.bfloat16, enabled=self.device != "cpu"):
            found: NDArray[np.float32] = self.module(torch.from_numpy(prepared).to(self.device)).float().cpu().numpy()
        return found


def padded(items: Sequence[NDArray[Any]], batch: int) -> NDArray[Any]:
    """Items as one array of `batch` rows, zeros after the last: which kernels run, and so how they round, hangs on the shape."""
    rows = np.zeros((batch, *items[0].shape), items[0].dtype)
    rows[: len(items)] = items
    return rows


def load(name: str, images: bool) -> Graph | Tower:
    """The image or the text tower of a model; what cannot be had, or is not what the name pins, raises EncoderError."""
    spec = completed(parse(name))
    known, weights = published(spec), find(spec)
    try:
        prepare = preparation(spec, known) if images else tokens(spec)
    except (OSError, RuntimeError, ValueError) as error:
        raise EncoderError(f"{name}: its tokenizer cannot be loaded ({error}); check the connection") from error
    width = int(config(spec)["embed_dim"])
    device = accelerator()
    if device is not None:
        return Tower(name, width, images, prepare, tower(spec, known, weights, images).to(device), device, batch_size(free_memory()))
    path = graph_path(spec, known, weights, images)
    if path.exists() or export(tower(spec, known, weights, images), prepare, images, path):
        return Graph(name, width, images, prepare, open_graph(path, 1))
    return Tower(name, width, images, prepare, tower(spec, known, weights, images), "cpu", 1)


def config(spec: Spec) -> dict[str, Any]:
    """How open_clip builds the model."""
    import open_clip

    return dict(open_clip.get_model_config(spec.model) or {})


def preparation(spec: Spec, known: Any) -> Prepare:
    """What makes the network's input (3, H, W) of an image: open_clip's own resizing, as the tag says or as is usual."""
    from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict
    from PIL import Image

    size = config(spec)["vision_cfg"].get("image_size", 224)
    transform = image_transform_v2(
        PreprocessCfg(**merge_preprocess_dict(PreprocessCfg(size=size), {**known, "size": size})), is_train=False
    )
    return lambda image: transform(Image.fromarray(image)).numpy()


def tokens(spec: Spec) -> Prepare:
    """What makes the network's input (t,) of a text."""
    import open_clip

    tokenise = open_clip.get_tokenizer(spec.model)
    return lambda text: tokenise([text[:MAX_CHARACTERS]])[0].numpy()


def tower(spec: Spec, known: Any, weights: Weights, images: bool) -> Any:
    """One tower of the model as a module from prepared items to unit vectors."""
    import open_clip
    import torch
    from safetensors import SafetensorError

    class Encoding(torch.nn.Module):
        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model = model

        def forward(self, items: torch.Tensor) -> torch.Tensor:
            encode = self.model.encode_image if images else self.model.encode_text
            vectors: torch.Tensor = encode(items, normalize=True)
            return vectors

    try:
        # The path ends in .safetensors, so that open_clip reads it with safetensors whatever is in it.
        model = open_clip.create_model(
            spec.model,
            pretrained=str(weights.path),
            pretrained_text=False,
            force_quick_gelu=bool(known.get("quick_gelu")),
            weights_only=True,
        )
    except SafetensorError as error:
        raise EncoderError(f"{spec.name}: {weights.path} is not a readable safetensors file ({error})") from error
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise EncoderError(f"{spec.name}: the weights cannot be loaded ({error}); check that they are of the model {spec.model}") from error
    return Encoding(model.eval()).eval()


def graph_path(spec: Spec, known: Any, weights: Weights, images: bool) -> Path:
    """Where the tower's graph lies: named by the weights, by how the model is built and by what exports it."""
    from importlib.metadata import version

    root = Path(os.environ.get("DATAAUDIT_CACHE") or Path.home() / ".cache" / "dataaudit")
    built = json.dumps(config(spec), sort_keys=True), bool(known.get("quick_gelu")), images
    made = fingerprint(weights.sha256, *built, version("open_clip_torch"), version("torch"), GRAPH_VERSION)
    return root / "encoders" / f"open_clip-{spec.model}-{'image' if images else 'text'}-{made}.onnx"


def export(module: Any, prepare: Prepare, images: bool, path: Path) -> bool:
    """Write a tower as an ONNX graph from one item to its unit vector; returns whether it could be, and does what torch does."""
    import io

    import onnxruntime
    import torch

    if size(module, images) > LARGEST_GRAPH:
        return False
    first, second = (torch.from_numpy(prepare(item)[None]) for item in examples(images))
    buffer: Any = io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode(), unfused_attention():
        warnings.simplefilter("ignore")
        expected = module(second).numpy()
        try:
            torch.onnx.export(module, (first,), buffer, input_names=["items"], output_names=["vectors"], dynamo=False, opset_version=17)
        except (torch.onnx.errors.OnnxExporterError, *ALSO_EXPORTED):
            return False  # an operator without a counterpart; torch itself runs the tower, and the audit says so
    found = onnxruntime.InferenceSession(buffer.getvalue(), providers=["CPUExecutionProvider"]).run(None, {"items": second.numpy()})[0]
    if not np.allclose(found, expected, atol=CLOSE):
        return False
    with atomic(path) as out:
        out.write(buffer.getvalue())
    return True


@contextmanager
def unfused_attention() -> Iterator[None]:
    """Attention as operators that ONNX has, rather than as the one that torch has for it."""
    import torch

    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def size(module: Any, images: bool) -> int:
    """Bytes of one tower's weights."""
    whole, seen = (sum(p.numel() * p.element_size() for p in part.parameters()) for part in (module.model, module.model.visual))
    return int(seen if images else whole - seen)


def examples(images: bool) -> Iterator[Any]:
    """An item to trace a tower with, and another one to see whether the trace holds."""
    if not images:
        yield from ("a picture of a dog", "two people walk along a beach, and the sun goes down behind them")
        return
    step = np.arange(64, dtype=np.uint8)
    yield np.stack(np.broadcast_arrays(step[:, None], step[None], step[:, None] * 3), axis=-1)
    yield np.stack(np.broadcast_arrays(step[None] * 4, step[:, None] ^ step[None], 255 - step[:, None]), axis=-1)


def accelerator() -> str | None:
    """The GPU that torch says it can compute with in bfloat16."""
    import torch

    return "cuda" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else None


def free_memory() -> int:
    """Bytes that are free on the GPU."""
    import torch

    return int(torch.cuda.mem_get_info()[0])


def batch_size(free: int) -> int:
    """The largest power of two whose items fit into half of what is free, up to 64."""
    fits = max(1, min(LARGEST_BATCH, free // 2 // BYTES_AN_ITEM))
    return 1 << (int(fits).bit_length() - 1)
