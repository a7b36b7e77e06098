"""The proxy: a small CLIP that is trained from scratch on the suspect pairs, in place of the model that somebody would train on them.

What a backdoor does to a model can only be seen in a model that learnt it.  A picture network of open_clip's residual kind and a small text
network learn 32 x 32 pictures and the words of their captions by the symmetric contrastive loss, an epoch at a time; after each one
everything that the next needs lies in one safetensors file.
Radford et al., "Learning transferable visual models from natural language supervision", ICML 2021.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import cos, pi
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataaudit.errors import EncoderError
from dataaudit.features.encoders.open_clip import padded
from dataaudit.store.records import atomic

COLUMN = "proxy_embedding"
"""Where what a proxy sees of each picture lies in a table, (n, WIDTH) in fixed point."""
WIDTH = 64
"""Components of a vector."""
WORDS = 8_192
"""Cells that words are hashed into; the last one ends a caption."""
CONTEXT = 24
BATCH = 128
RATE, WARM, DECAY = 1e-3, 100, 0.1
"""The highest learning rate, the steps to reach it, and the decay of weights."""
VISION = {"image_size": 64, "layers": (1, 1, 1, 1), "width": 16, "head_width": 64}
TEXT = {"context_length": CONTEXT, "vocab_size": WORDS, "width": 96, "heads": 3, "layers": 1}
WORD = re.compile(r"\w+")

Pictures = NDArray[np.uint8]
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Pairs:
    """What is learnt from: pictures (n, 32, 32, 3) and a caption each."""

    pictures: Pictures
    captions: Sequence[str]


def tokens(captions: Sequence[str]) -> NDArray[np.int64]:
    """The first words of each caption as hashed numbers and the end, shape (n, CONTEXT), zeros after it."""
    found = np.zeros((len(captions), CONTEXT), np.int64)
    for row, caption in enumerate(captions):
        words = [1 + zlib.crc32(word.encode("utf-8", "surrogatepass")) % (WORDS - 2) for word in WORD.findall(caption.lower())]
        said = [*words[: CONTEXT - 1], WORDS - 1]
        found[row, : len(said)] = said
    return found


def learn(pairs: Pairs, epoch: int, epochs: int, seed: int, before: Path | None, out: Path) -> None:
    """One epoch more, from the checkpoint `before` (None: from scratch) to `out`.  The same pairs and seed give the same bits."""
    import torch

    steps = list(batches(len(pairs.captions), np.random.default_rng([seed, epoch])))
    said = torch.from_numpy(tokens(pairs.captions))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = network()
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY, betas=(0.9, 0.98))
    if before is not None:
        restore(model, optimiser, before)
    model.to(device()).train()
    for step, rows in enumerate(steps, epoch * len(steps)):
        for group in optimiser.param_groups:
            group["lr"] = rate(step, epochs * len(steps))
        loss = contrastive(model, prepared(pairs.pictures[rows]).to(device()), said[rows].to(device()))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, np.log(100))
    keep(model, optimiser, out)


def batches(pairs: int, chance: np.random.Generator) -> Iterator[NDArray[np.intp]]:
    """The rows of each step of an epoch: all of them in a random order, but for a last few that are too few to tell apart."""
    order = chance.permutation(pairs)
    for at in range(0, pairs, BATCH):
        if at == 0 or pairs - at >= BATCH // 2:
            yield order[at : at + BATCH]


def rate(step: int, steps: int) -> float:
    """Rises for `WARM` steps (a tenth of all, where these are few) and falls as a cosine does."""
    warm = min(WARM, max(1, steps // 10))
    return RATE * min((step + 1) / warm, (1 + cos(pi * step / max(1, steps))) / 2)


def contrastive(model: Any, pictures: Any, said: Any) -> Any:
    """The mean of both cross entropies of a batch, each pair against all others in it."""
    import torch

    seen, read, scale = model(pictures, said)
    logits = scale * seen @ read.T
    own = torch.arange(len(logits), device=logits.device)
    return (torch.nn.functional.cross_entropy(logits, own) + torch.nn.functional.cross_entropy(logits.T, own)) / 2


def network() -> Any:
    """The model, with random weights."""
    import open_clip

    return open_clip.CLIP(WIDTH, open_clip.CLIPVisionCfg(**VISION), open_clip.CLIPTextCfg(**TEXT))


def prepared(pictures: Pictures) -> Any:
    """The network's input (n, 3, 64, 64): every pixel four times, so that the first layers see a trigger of a few pixels."""
    import torch

    scaled = torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))).float() / 127.5 - 1
    return scaled.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def device() -> str:
    """Where it is trained."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


# ---- checkpoints


def keep(model: Any, optimiser: Any, path: Path) -> None:
    """Write weights and the optimiser's moments, all or nothing."""
    from safetensors.torch import save

    tensors = {f"model.{name}": value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    for at, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{at}.{name}": value.detach().cpu().contiguous() for name, value in state.items()}
    with atomic(path) as out:
        out.write(save(tensors))


def restore(model: Any, optimiser: Any | None, path: Path) -> None:
    """Load what `keep` wrote; anything else raises EncoderError."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        stored = load_file(path)
        model.load_state_dict({name.removeprefix("model."): value for name, value in stored.items() if name.startswith("model.")})
        if optimiser is not None:
            optimiser.load_state_dict(optimiser.state_dict() | {"state": moments(stored)})
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError) as error:
        raise EncoderError(f"{path}: no checkpoint of the proxy ({str(error)[:200]}); delete it and run again") from error


def moments(stored: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """The optimiser's state by parameter."""
    found: dict[int, dict[str, Any]] = {}
    for name, value in stored.items():
        kind, _, rest = name.partition(".")
        if kind == "optimiser":
            at, _, what = rest.partition(".")
            found.setdefault(int(at), {})[what] = value
    return found


def sha256(path: Path) -> str:
    """What a checkpoint is known by."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---- what it makes of pairs


@dataclass(frozen=True)
class Proxy:
    """A trained model; vectors have unit norm."""

    model: Any

    def see(self, pictures: Pictures) -> Vectors:
        """Pictures (n, 32, 32, 3) as vectors (n, WIDTH)."""
        return self._batched(pictures, lambda part: self.model.encode_image(prepared(part).to(device()), normalize=True))

    def read(self, captions: Sequence[str]) -> Vectors:
        """Captions as vectors (n, WIDTH) in the same space."""
        import torch

        return self._batched(tokens(captions), lambda part: self.model.encode_text(torch.from_numpy(part).to(device()), normalize=True))

    def _batched(self, items: NDArray[Any], encode: Callable[[NDArray[Any]], Any]) -> Vectors:
        """In batches of one shape, so that nothing depends on how many there are."""
        import torch

        found = [np.empty((0, WIDTH), np.float32)]
        for at in range(0, len(items), BATCH):
            part = items[at : at + BATCH]
            with torch.inference_mode():
                found.append(encode(padded([*part], BATCH)).cpu().numpy()[: len(part)])
        return np.concatenate(found)


@lru_cache(maxsize=2)
def load(path: Path, digest: str) -> Proxy:
    """The model of a checkpoint; one that is not what was trained raises EncoderError."""
    if not path.exists() or sha256(path) != digest:
        raise EncoderError(f"{path}: not the proxy that was trained here; delete it and run again")
    model = network()
    restore(model, None, path)
    return Proxy(model.to(device()).eval())


def settings() -> str:
    """What a checkpoint depends on beside its pairs, its seed and this code."""
    return json.dumps([WIDTH, WORDS, CONTEXT, BATCH, RATE, WARM, DECAY, VISION, TEXT])
