"""A small network trained on the suspect images themselves, for the detectors that look at a victim's activations.

ResNet of 6 n + 2 layers with 16, 32 and 64 channels for small images.
He, Zhang, Ren, Sun: Deep residual learning for image recognition (CVPR 2016), section 4.2, arXiv:1512.03385.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (16, 32, 64)
SHIFT = 2


@dataclass(frozen=True)
class Victim:
    """What the victim makes of its unaltered training images.

    `activations` (n, 64) float32 come before the last layer, `said` (n,) are the labels it gives and `accuracy` is the
    share that are as in training.  `said` among the poisons tells whether it learnt the trigger at all.
    """

    activations: NDArray[np.float32]
    said: NDArray[np.integer]
    accuracy: float


class Block(nn.Module):
    """Two convolutions and the way past them, which is made narrower and wider by a 1 x 1 convolution where needed."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)
        same = stride == 1 and channels_in == channels
        self.past = (
            nn.Identity() if same else nn.Sequential(nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))
        )

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.second_norm(self.second(inner)) + self.past(x))


class ResNet(nn.Module):
    """`blocks` a width: 1 is ResNet-8, 2 is ResNet-14."""

    def __init__(self, classes: int, blocks: int = 1) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, WIDTHS[0], 3, 1, 1, bias=False), nn.BatchNorm2d(WIDTHS[0]), nn.ReLU()]
        before = WIDTHS[0]
        for width in WIDTHS:
            for block in range(blocks):
                layers.append(Block(before, width, 2 if block == 0 and width != WIDTHS[0] else 1))
                before = width
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(before, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


def train(
    pixels: NDArray[np.uint8],
    labels: NDArray[np.integer],
    epochs: int = 15,
    blocks: int = 1,
    batch: int = 128,
    rate: float = 0.1,
    seed: int = 0,
    threads: int = 1,
    augment: bool = False,
    bfloat16: bool = True,
) -> Victim:
    """A victim of `pixels` (n, H, W, 3) and `labels` (n,): SGD with momentum, a cosine schedule.

    A detector that reads activations needs a victim that has learnt the trigger, and 15 epochs are what is affordable
    on one core (10,000 images of 32 x 32: two minutes).  Of 300 poisons among 10,000 CIFAR-10 images such a victim says
    the target for 100 % (a 3-pixel patch, or a blend of 0.1).  With `augment`, which moves images by up to 2 pixels and
    mirrors them, it is 98 % and 12 %; with the usual 4 pixels 11 % of the patches.  Of 100 poisons it does not learn the
    patch either way (41 %, 5 %): compare `said` with the labels of the poisons before judging a detector by it.

    The same seed, number of threads and processor give the same victim.  With `bfloat16` the training's convolutions
    (not the activations') are in that precision.
    """
    classes, index = np.unique(labels, return_inverse=True)
    with _settings(threads, seed):
        images = _normalised(pixels)
        model = ResNet(len(classes), blocks).to(memory_format=torch.channels_last)
        _fit(model, images, torch.from_numpy(index), epochs, batch, rate, augment, bfloat16)
        model.eval()
        with torch.no_grad():
            activations = torch.cat([model.body(part.contiguous(memory_format=torch.channels_last)) for part in images.split(512)])
            said = model.head(activations).argmax(dim=1).numpy()
        return Victim(activations.numpy(), classes[said], float((said == index).mean()))


def _fit(model: ResNet, images: Tensor, targets: Tensor, epochs: int, batch: int, rate: float, augment: bool, bfloat16: bool) -> None:
    """Train in place; the rate rises over the first tenth of the steps and falls as a cosine to nothing."""
    steps = epochs * -(-len(images) // batch)
    optimiser = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, weight_decay=5e-4, nesterov=True)
    warm = max(1, steps // 10)

    def share(step: int) -> float:
        return (step + 1) / warm if step < warm else 0.5 * (1 + np.cos(np.pi * (step - warm) / max(1, steps - warm)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, share)
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(batch):
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                logits = model(augmented(images[rows]) if augment else images[rows])
            loss = F.cross_entropy(logits.float(), targets[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()


def augmented(images: Tensor) -> Tensor:
    """Each image (n, 3, H, W) moved by up to `SHIFT` pixels each way (zeros come in) and mirrored every other time."""
    n, _, height, width = images.shape
    padded = F.pad(images, (SHIFT,) * 4)
    down, right = (torch.randint(2 * SHIFT + 1, (n, 1)) for _ in range(2))
    mirrored = torch.rand(n, 1) < 0.5
    rows = down + torch.arange(height)
    columns = right + torch.where(mirrored, torch.arange(width).flip(0), torch.arange(width))
    moved = padded.permute(0, 2, 3, 1)[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return moved.permute(0, 3, 1, 2)


def _normalised(pixels: NDArray[np.uint8]) -> Tensor:
    """Images (n, 3, H, W) float32 of mean 0 and deviation 1 in each colour, over the whole set."""
    sampled = pixels[:: max(1, len(pixels) // 5000)].reshape(-1, pixels.shape[-1]) / 255.0
    mean, spread = sampled.mean(axis=0), sampled.std(axis=0) + 1e-3
    scaled = (pixels.astype(np.float32) / 255 - mean.astype(np.float32)) / spread.astype(np.float32)
    return torch.from_numpy(scaled).permute(0, 3, 1, 2)


@contextmanager
def _settings(threads: int, seed: int) -> Iterator[None]:
    """A number of threads and a state of the random numbers for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before)
