"""Clean-label attacks that are computed against a frozen encoder: images that look like one thing and embed like another.

The encoder comes as a function (see `Encoder`), so that this module knows no framework.  Images are uint8 (n, H, W, C) here,
and every attack returns as many, none of whose pixels differs from the original by more than the budget (stamps come on top).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from dataaudit.attacks.images import Image, ImageAttack

Pixels = NDArray[np.float32]
Vectors = NDArray[np.float32]
Pull = Callable[[Vectors], Vectors]


class Encoder(Protocol):
    """A differentiable encoder of images."""

    def __call__(self, images: Pixels, pull: Pull) -> tuple[Vectors, Pixels]:
        """The vectors (n, d) of images (n, H, W, C) in 0..255, and a gradient with respect to the images.

        It is the gradient of sum(vectors * pull(vectors)), where pull(vectors) is taken as a constant: one pass forwards, one back.
        In PyTorch, with a model that takes (n, H, W, C) in 0..255:

            pixels = torch.from_numpy(images).requires_grad_()
            vectors = model(pixels)
            found = vectors.detach().numpy()
            vectors.backward(torch.from_numpy(pull(found)))
            return found, pixels.grad.numpy()
        """
        ...


@dataclass(frozen=True)
class Descent:
    """Projected sign-gradient descent: `steps` of up to `step` grey levels, never further than `budget` from the original.

    An image's step is halved where it overshoots, and grows again slowly; the best image so far is kept.  The encoder sees
    `batch` images at a time; images do not influence each other.
    Madry, Makelov, Schmidt, Tsipras, Vladu: Towards deep learning models resistant to adversarial attacks (ICLR 2018), arXiv:1706.06083;
    the adaptive step is in the spirit of Croce, Hein: Auto-PGD (ICML 2020), arXiv:2003.01690.
    """

    budget: int = 16
    step: float = 2.0
    steps: int = 100
    batch: int = 32

    def run(self, encoder: Encoder, images: Image, goals: Vectors, towards: bool = True) -> Image:
        """The images, perturbed so that their vectors come near to the goals (n, d), or away from them, in Euclidean distance."""
        if len(images) != len(goals):
            raise ValueError(f"every image needs a goal of its own: there are {len(images)} images and {len(goals)} goals")
        parts = [slice(at, at + self.batch) for at in range(0, len(images), self.batch)]
        found = [self._batch(encoder, images[part], goals[part], 1 if towards else -1) for part in parts]
        return np.concatenate(found) if found else images.copy()

    def _batch(self, encoder: Encoder, images: Image, goals: Vectors, sign: int) -> Image:
        trial = images.astype(np.float32)
        low, high = np.maximum(trial - self.budget, 0), np.minimum(trial + self.budget, 255)
        best, slope = trial.copy(), np.zeros_like(trial)
        least = np.full(len(images), np.inf)
        step = np.full((len(images), 1, 1, 1), self.step, np.float32)
        for _ in range(self.steps + 1):
            vectors, gradient = encoder(trial, lambda found: (sign * 2 * (found - goals)).astype(np.float32))
            loss = sign * np.square(vectors - goals).sum(axis=1)
            better = loss < least
            best[better], slope[better], least[better] = trial[better], gradient[better], loss[better]
            step[better], step[~better] = np.minimum(step[better] * 1.2, self.step), step[~better] / 2
            trial = np.clip(best - step * np.sign(slope), low, high)
        return _to_whole(best)


def embed(encoder: Encoder, images: Image, batch: int = 32) -> Vectors:
    """The vectors (n, d) of uint8 images (n, H, W, C)."""
    parts = [images[at : at + batch].astype(np.float32) for at in range(0, len(images), batch)]
    return np.concatenate([encoder(part, np.zeros_like)[0] for part in parts])


def feature_collision(encoder: Encoder, bases: Image, victim: Image, descent: Descent = Descent()) -> Image:
    """Bases (n, H, W, C) of the target label that embed like the one victim (H, W, C), which a model then takes for the target.

    The paper penalises the distance to the base; here the budget limits it.
    Shafahi et al.: Poison frogs! Targeted clean-label poisoning attacks on neural networks (NeurIPS 2018), arXiv:1804.00792.
    """
    goal = embed(encoder, victim[None])
    return descent.run(encoder, bases, goal.repeat(len(bases), axis=0))


def hidden_trigger(encoder: Encoder, bases: Image, sources: Image, stamp: ImageAttack, descent: Descent = Descent()) -> Image:
    """Bases (n, H, W, C) of the target label that embed like stamped sources (m, H, W, C), m >= n, and show no trigger themselves.

    Every base goes to a stamped source of its own, paired so that the distances are least in sum (the paper pairs
    greedily, and anew at every step).  Fewer sources than bases is a ValueError.
    Saha, Subramanya, Pirsiavash: Hidden trigger backdoor attacks (AAAI 2020), arXiv:1910.00033.
    """
    if len(sources) < len(bases):
        raise ValueError(f"every base needs a source of its own: there are {len(bases)} bases and {len(sources)} sources")
    goals = embed(encoder, stamp.apply(sources), descent.batch)
    _, paired = linear_sum_assignment(cdist(embed(encoder, bases, descent.batch), goals, "sqeuclidean"))
    return descent.run(encoder, bases, goals[paired])


def label_consistent(encoder: Encoder, images: Image, mean: Vectors, stamp: ImageAttack, descent: Descent = Descent()) -> Image:
    """Images (n, H, W, C) of the target label, made hard to recognise and then stamped, so that a model learns the stamp instead.

    They are driven away from `mean` (d,), the mean vector of their label (the paper: against a classifier's loss).
    Turner, Tsipras, Madry: Label-consistent backdoor attacks (2019), arXiv:1912.02771.
    """
    hard = descent.run(encoder, images, np.broadcast_to(mean, (len(images), len(mean))), towards=False)
    return stamp.apply(hard)


def _to_whole(images: Pixels) -> Image:
    """Whole grey levels, rounded up or down by chance so that small steps that all pixels made do not vanish together."""
    whole = np.floor(images)
    return (whole + (np.random.default_rng(0).random(images.shape[1:]) < images - whole)).astype(np.uint8)
