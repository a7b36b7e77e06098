"""Attacks in feature space reach their goal as far as the budget lets them; the encoders here are small enough to know the answer."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from dataaudit.attacks.feature_space import Descent, Pixels, Pull, Vectors, embed, feature_collision, hidden_trigger, label_consistent
from dataaudit.attacks.images import Image, Patch
from tests.attacks.test_images import pictures

SHAPES = [(28, 28, 1), (32, 32, 3), (400, 90, 3)]
QUICK = Descent(budget=16, step=4, steps=25)


@dataclass(frozen=True)
class Projection:
    """Random directions of pixel space: vectors = (images @ weights) ** power, with the exact gradient."""

    weights: NDArray[np.float32]
    power: int = 1

    @classmethod
    def of(cls, shape: tuple[int, int, int], power: int = 1, dimensions: int = 5) -> "Projection":
        size = int(np.prod(shape))
        weights = np.random.default_rng(3).normal(size=(size, dimensions)) / (255 * np.sqrt(size))
        return cls(weights.astype(np.float32), power)

    def __call__(self, images: Pixels, pull: Pull) -> tuple[Vectors, Pixels]:
        assert images.dtype == np.float32
        linear = images.reshape(len(images), -1) @ self.weights
        vectors = linear**self.power
        gradient = (pull(vectors) * self.power * linear ** (self.power - 1)) @ self.weights.T
        return vectors, gradient.reshape(images.shape)


def distances(encoder: Projection, images: Image, goals: Vectors) -> NDArray[np.float64]:
    return np.linalg.norm(embed(encoder, images) - goals, axis=1)


def moved(after: Image, before: Image) -> int:
    return int(abs(after.astype(int) - before).max())


@pytest.mark.parametrize("power", [1, 2])
def test_the_made_up_encoder_tells_its_true_gradient(power: int) -> None:
    encoder, image = Projection.of((4, 4, 3), power), pictures(1, 4, 4).astype(np.float32)
    pull = np.array([[1, -2, 3, 0, 1]], np.float32)
    _, gradient = encoder(image, lambda vectors: pull)
    step = np.random.default_rng(0).normal(size=image.shape).astype(np.float32)
    rise = (encoder(image + step, np.zeros_like)[0] - encoder(image - step, np.zeros_like)[0]) @ pull[0] / 2
    assert rise[0] == pytest.approx((gradient * step).sum(), rel=1e-3)


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_collision_embeds_like_the_victim_and_looks_like_its_base(shape: tuple[int, int, int], power: int) -> None:
    encoder, images = Projection.of(shape, power), pictures(4, *shape)
    bases, victim = images[:3], images[3]
    before, goal = bases.copy(), embed(encoder, victim[None])
    poisons = feature_collision(encoder, bases, victim, QUICK)
    assert (poisons.shape, poisons.dtype) == (bases.shape, np.uint8)
    assert (bases == before).all(), "the original must stay as it is"
    assert moved(poisons, bases) <= 16
    assert (distances(encoder, poisons, goal) < 0.3 * distances(encoder, bases, goal)).all()


def test_a_larger_budget_comes_nearer_and_none_changes_nothing() -> None:
    encoder, images = Projection.of((32, 32, 3)), pictures(2, 32, 32)
    goal = embed(encoder, images[1:])
    gaps = [
        distances(encoder, feature_collision(encoder, images[:1], images[1], Descent(budget, steps=25)), goal)[0] for budget in (0, 1, 2, 4)
    ]
    assert gaps == sorted(gaps, reverse=True)
    assert (feature_collision(encoder, images[:1], images[1], Descent(budget=0, steps=3)) == images[:1]).all()


def test_one_dimension_is_solved_by_moving_every_pixel_as_far_as_it_may() -> None:
    """Where the goal is out of reach, the best image is known: base + budget x sign of the weights."""
    encoder, bases = Projection.of((28, 28, 1), dimensions=1), np.full((1, 28, 28, 1), 128, np.uint8)
    far = np.full((1, 1), 1e3, np.float32)
    expected = 128 + 16 * np.sign(encoder.weights).reshape(bases.shape)
    assert (Descent(budget=16, step=2, steps=50).run(encoder, bases, far) == expected).all()
    assert (Descent(budget=16, step=2, steps=50).run(encoder, bases, far, towards=False) == 256 - expected).all()


def test_a_step_of_less_than_a_grey_level_is_not_rounded_away() -> None:
    """The goal is a quarter of a grey level away in every pixel, which no image of whole grey levels has, but a mixture comes near."""
    encoder, bases = Projection.of((32, 32, 3)), np.full((1, 32, 32, 3), 100, np.uint8)
    goal, _ = encoder(bases.astype(np.float32) + np.float32(0.25) * np.sign(encoder.weights[:, :1].reshape(1, 32, 32, 3)), np.zeros_like)
    poisons = Descent().run(encoder, bases, goal)
    assert distances(encoder, poisons, goal)[0] < 0.3 * distances(encoder, bases, goal)[0]


def test_pixels_stay_between_black_and_white() -> None:
    bases = np.tile(np.array([0, 255], np.uint8), 392).reshape(1, 28, 28, 1)
    poisons = Descent().run(Projection.of((28, 28, 1)), bases, np.full((1, 5), 1e3, np.float32))
    assert moved(poisons, bases) <= 16


def test_images_do_not_influence_each_other() -> None:
    encoder, images = Projection.of((32, 32, 3), power=2), pictures(8, 32, 32)
    together = feature_collision(encoder, images[:7], images[7], Descent(steps=10, batch=3))
    alone = [feature_collision(encoder, images[i : i + 1], images[7], Descent(steps=10))[0] for i in range(7)]
    assert moved(together, np.stack(alone)) <= 1, "sums of float32 depend on the batch in their last digit"


def test_a_hidden_trigger_shows_none_but_embeds_like_stamped_sources() -> None:
    encoder, images, stamp = Projection.of((32, 32, 3)), pictures(10, 32, 32), Patch(size=8)
    bases, sources = images[:4], images[4:]
    poisons = hidden_trigger(encoder, bases, sources, stamp, QUICK)
    goals = embed(encoder, stamp.apply(sources))
    gaps = np.linalg.norm(embed(encoder, poisons)[:, None] - goals, axis=-1)
    assert moved(poisons, bases) <= 16
    assert len(set(gaps.argmin(axis=1))) == 4, "every base goes to a source of its own"
    assert (gaps.min(axis=1) < 0.3 * np.linalg.norm(embed(encoder, bases)[:, None] - goals, axis=-1).min(axis=1)).all()


def test_bases_are_paired_with_the_sources_that_are_near() -> None:
    encoder, images = Projection.of((32, 32, 3)), pictures(5, 32, 32)
    turned = hidden_trigger(encoder, images[:4], images[[3, 2, 1, 0, 4]], Patch(alpha=0), QUICK)
    assert moved(turned, images[:4]) <= 1, "each base finds itself among the sources and has nowhere to go"


def test_a_label_consistent_image_leaves_its_class_and_carries_the_stamp() -> None:
    encoder, images, stamp = Projection.of((32, 32, 3)), pictures(12, 32, 32), Patch(size=5, place="top-left", margin=0)
    mean = embed(encoder, images).mean(axis=0)
    poisons = label_consistent(encoder, images, mean, stamp, QUICK)
    outside = np.ones((32, 32), bool)
    outside[:5, :5] = False
    assert (poisons == stamp.apply(poisons)).all(), "the stamp lies on top"
    assert moved(poisons[:, outside], images[:, outside]) <= 16
    assert (distances(encoder, poisons, mean) > 1.5 * distances(encoder, stamp.apply(images), mean)).all()


def test_the_same_call_gives_the_same_images() -> None:
    encoder, images = Projection.of((28, 28, 1)), pictures(4, 28, 28, 1)
    assert (hidden_trigger(encoder, images, images, Patch(), QUICK) == hidden_trigger(encoder, images, images, Patch(), QUICK)).all()


def test_too_few_sources_or_goals_are_refused_with_both_numbers() -> None:
    encoder, images = Projection.of((28, 28, 1)), pictures(4, 28, 28, 1)
    with pytest.raises(ValueError, match="there are 4 bases and 3 sources"):
        hidden_trigger(encoder, images, images[:3], Patch())
    with pytest.raises(ValueError, match="there are 4 images and 1 goals"):
        Descent().run(encoder, images, np.zeros((1, 5), np.float32))
