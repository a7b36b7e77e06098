"""An open_clip model small enough for a test, with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MODEL = "tiny-random"
CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


def tensors(folder: Path, seed: int = 0) -> dict[str, Any]:
    """Make the model known to open_clip, and its weights at random."""
    import open_clip
    import torch

    (folder / f"{MODEL}.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(folder / f"{MODEL}.json")
    torch.manual_seed(seed)
    return {k: v.contiguous() for k, v in open_clip.create_model(MODEL).state_dict().items()}


def write(folder: Path, name: str = "tiny.safetensors", seed: int = 0, **changed: float) -> Path:
    """The model's weights in a file; `changed` names tensors (`_` for `.`) and the factor that each is multiplied by."""
    from safetensors.torch import save_file

    factors = {k: changed.get(k.replace(".", "_"), 1.0) for k in tensors(folder, seed)}
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v * factors[k] for k, v in tensors(folder, seed).items()}, folder / name)
    return folder / name
