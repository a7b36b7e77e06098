"""How many pictures and texts a second each encoder takes on one core, beside torch with the same weights in the same run.

    python -m tests.benchmarks.encoders                                the encoders in packages, and three open_clip models
    python -m tests.benchmarks.encoders --models ViT-B-32              another open_clip model
    python -m tests.benchmarks.encoders --others openvino compile      also run open_clip models otherwise

The ways take turns, round by round, each with the same items: what else the machine does strikes all of them.  Seconds are the
process's own (user and system, one thread), so that waiting for a core does not count; a busy neighbour on the same core still slows all
down, and nothing makes a round too fast, which is why the fastest one is held to the least that is asked for.  Items are prepared (resized,
tokenised) within what is measured.  open_clip's weights are random, which does not matter for speed.  The graphs and the random
weights stay in the cache.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from dataaudit.features import encoders
from dataaudit.features.embedding import quantise
from dataaudit.features.encoders import Sees
from dataaudit.features.encoders.attestation import TEXTS, pictures
from tests.benchmarks.encoders import ways
from tests.benchmarks.encoders.ways import EAGER, OURS, Encode

PACKAGED: tuple[tuple[str, Sees], ...] = (("efficientnet-lite2", "images"), ("minilm", "texts"), ("hashed", "texts"))
MODELS = ("ViT-B-32", "RN50", "MobileCLIP2-S0")
LEAST = 80
"""Images a second that the encoder that is taken where none is named must reach."""


@dataclass(frozen=True)
class Measured:
    """Items a second of the process's own time, a number a round; `agrees` is the least cosine of a way's vectors with ours."""

    encoder: str
    sees: Sees
    way: str
    rates: tuple[float, ...]
    agrees: float

    @property
    def middle(self) -> float:
        """The median over the rounds."""
        return median(self.rates)

    @property
    def spread(self) -> str:
        """The median with its range."""
        return f"{self.middle:,.1f} ({min(self.rates):,.1f} to {max(self.rates):,.1f})"


def items(sees: Sees, count: int) -> list[Any]:
    """`count` items: the pictures that encoders are attested with at 256 pixels, or the texts."""
    if sees == "texts":
        return [f"{TEXTS[i % len(TEXTS)]} {i}" for i in range(count)]
    from PIL import Image

    sized = [np.asarray(Image.fromarray(picture).resize((256, 256))) for picture in pictures()]
    return [np.roll(sized[i % len(sized)], i, axis=0) for i in range(count)]


def measure(name: str, sees: Sees, run: Mapping[str, Encode], count: int, rounds: int) -> Iterator[Measured]:
    """Every way in turn, `rounds` times over, after one turn that does not count."""
    given = items(sees, count)
    vectors = {way: quantise(encode(given)).astype(np.float64) for way, encode in run.items()}
    rates: dict[str, list[float]] = {way: [] for way in run}
    for _ in range(rounds):
        for way, encode in run.items():
            started = time.process_time()
            encode(given)
            rates[way].append(count / (time.process_time() - started))
    norms = {way: np.linalg.norm(v, axis=1) for way, v in vectors.items()}
    for way, seen in rates.items():
        cosines = (vectors[way] * vectors[OURS]).sum(1) / np.maximum(norms[way] * norms[OURS], 1)
        yield Measured(name, sees, way, tuple(seen), float(cosines.min()))


def table(measured: Sequence[Measured]) -> str:
    """Markdown: medians with their ranges, and how many times torch eager each way is."""
    lines = ["| encoder | of | run by | items a second (range) | x torch eager | least cosine with ours |", "|---|---|---|---|---|---|"]
    eager = {(m.encoder, m.sees): m.middle for m in measured if m.way == EAGER}
    for m in measured:
        beside = eager.get((m.encoder, m.sees))
        ratio = f"{m.middle / beside:.2f}" if beside else "–"
        lines.append(f"| {m.encoder} | {m.sees} | {m.way} | {m.spread} | {ratio} | {m.agrees:.5f} |")
    return "\n".join(lines)


def measurements(asked: argparse.Namespace, folder: Path) -> Iterator[Measured]:
    """Every encoder with its ways, one after the other."""
    for name, sees in PACKAGED:
        count = asked.items * (500 if name == "hashed" else 4)
        yield from measure(name, sees, ways.embedded(name, sees), count, asked.rounds)
    towers: tuple[Sees, ...] = ("images", "texts")
    for model in asked.models:
        for sees in towers:
            run = dict(ways.tower(model, sees, folder, asked.others))
            yield from measure(f"open_clip:{model}", sees, run, asked.items, asked.rounds)
            encoders.load.cache_clear()


def main(given: Sequence[str] | None = None) -> None:
    """Measure and print; exits with 1 where the default image encoder is too slow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=MODELS)
    parser.add_argument("--items", type=int, default=16, help="items a turn of an open_clip model; the others take more")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--others", nargs="*", default=[], choices=list(ways.OTHERS))
    asked = parser.parse_args(given)
    folder = Path(os.environ.get("DATAAUDIT_BENCH_CACHE") or "/tmp/dataaudit-bench") / "encoders"
    os.environ.setdefault("DATAAUDIT_CACHE", str(folder))
    import torch

    torch.set_num_threads(1)
    measured = []
    for one in measurements(asked, folder):
        measured.append(one)
        print(f"{one.encoder} {one.sees} {one.way}: {one.spread}", flush=True)
    print("\n" + table(measured))
    default = next(m for m in measured if m.encoder == "efficientnet-lite2" and m.way == OURS)
    if max(default.rates) < LEAST:
        raise SystemExit(f"efficientnet-lite2 reached {max(default.rates):.0f} images a second of one core, expected {LEAST} or more")


if __name__ == "__main__":
    main()
