"""Any open_clip model as an encoder, both towers; weights from the hub or a local .safetensors file, never from a pickle.

`spec` is MODEL, MODEL/TAG or MODEL/PATH, where PATH ends in `.safetensors`; a model name may hold no slash.
Cherti et al., "Reproducible scaling laws for contrastive language-image learning", CVPR 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataaudit.errors import EncoderError

MAX_CHARACTERS = 4_096


@dataclass(frozen=True)
class OpenClip:
    """One tower of a model; vectors have unit norm.  Items are encoded one by one, so that batches do not show."""

    name: str
    width: int
    images: bool
    model: Any
    preprocess: Any
    tokenise: Any

    def encode(self, items: Sequence[Any]) -> NDArray[np.float32]:
        """Unit vectors, float32 (n, width), of uint8 images (H, W, 3) or of texts."""
        import torch

        vectors = np.empty((len(items), self.width), np.float32)
        with torch.inference_mode():
            for at, item in enumerate(items):
                vectors[at] = self._tower(self._prepare(item))[0].float().numpy()
        return vectors

    @cached_property
    def _tower(self) -> Any:
        encode = self.model.encode_image if self.images else self.model.encode_text
        return lambda prepared: encode(prepared, normalize=True)

    def _prepare(self, item: Any) -> Any:
        if not self.images:
            return self.tokenise([item[:MAX_CHARACTERS]])
        from PIL import Image

        return self.preprocess(Image.fromarray(item))[None]


def load(spec: str, images: bool) -> OpenClip:
    """The image or the text tower of a model; what cannot be had raises EncoderError."""
    import open_clip

    model_name, _, weights = spec.partition("/")
    name = f"open_clip:{spec}"
    if model_name not in open_clip.list_models():
        raise EncoderError(f"{name}: open_clip has no model {model_name!r}; `open_clip.list_models()` names them")
    local = weights.endswith(".safetensors")
    if local and not Path(weights).is_file():
        raise EncoderError(f"{name}: {weights} is not a file; give the path of a .safetensors file")
    tag = None if local else weights or _first_tag(model_name)
    try:
        # A tag is fetched by open_clip itself, which prefers safetensors and reads anything else with weights_only.
        model, _, preprocess = open_clip.create_model_and_transforms(model_name, pretrained=tag, pretrained_text=False, weights_only=True)
        if local:
            _fill(model, Path(weights))
        tokenise = None if images else open_clip.get_tokenizer(model_name)
    except (OSError, RuntimeError, ValueError) as error:
        raise EncoderError(f"{name}: the weights cannot be loaded ({error}); check the tag, the file or the connection") from error
    model.eval()
    return OpenClip(name, _width(model_name), images, model, preprocess, tokenise)


def _first_tag(model_name: str) -> str:
    import open_clip

    tags: list[str] = open_clip.list_pretrained_tags_by_model(model_name)
    if not tags:
        raise EncoderError(f"open_clip:{model_name} has no published weights; give a local file: open_clip:{model_name}/PATH.safetensors")
    return tags[0]


def _width(model_name: str) -> int:
    import open_clip

    config: dict[str, Any] = open_clip.get_model_config(model_name) or {}
    return int(config["embed_dim"])


def _fill(model: Any, path: Path) -> None:
    """Put a safetensors file's tensors into a model; a name or a shape that does not fit raises RuntimeError."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise EncoderError(f"{path}: not a readable safetensors file ({error})") from error
    model.load_state_dict(tensors, strict=True)
