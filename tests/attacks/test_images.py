"""Image attacks keep shape and type, are pure, and change no more than they say."""

import numpy as np
import pytest
from numpy.typing import NDArray

from dataaudit.attacks.images import Blend, ImageAttack, Patch, Sinusoid, Warp

ATTACKS = [Patch(), Patch(size=5, coloured=True), Patch(place="random"), Blend(), Blend(coloured=False), Warp(), Sinusoid()]


def pictures(n: int = 4, height: int = 28, width: int = 32, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth pictures, as photographs are: noise would hide what a warp does."""
    coarse = np.random.default_rng(seed).integers(40, 216, (n, 4, 4, channels))
    return coarse.repeat(height // 4, axis=1).repeat(width // 4, axis=2).astype(np.uint8)


def changed(attack: ImageAttack, images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return (attack.apply(images) != images).any(axis=-1)


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
@pytest.mark.parametrize("shape", [(28, 28, 1), (28, 28, 3), (16, 40, 3)])
def test_every_attack_returns_another_picture_of_the_same_kind(attack: ImageAttack, shape: tuple[int, int, int]) -> None:
    before = pictures(1, *shape)[0]
    image = before.copy()
    poisoned = attack.apply(image)
    assert poisoned.shape == shape
    assert poisoned.dtype == np.uint8
    assert (poisoned != image).any()
    assert (image == before).all(), "the original must stay as it is"
    assert (attack.apply(image) == poisoned).all()


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_a_batch_is_poisoned_like_its_images(attack: ImageAttack) -> None:
    images = pictures()
    assert (attack.apply(images) == np.stack([attack.apply(image) for image in images])).all()


@pytest.mark.parametrize(
    ("place", "rows", "columns"),
    [
        ("top-left", slice(1, 4), slice(1, 4)),
        ("top-right", slice(1, 4), slice(28, 31)),
        ("bottom-left", slice(24, 27), slice(1, 4)),
        ("bottom-right", slice(24, 27), slice(28, 31)),
    ],
)
def test_a_patch_changes_its_square_and_nothing_else(place: str, rows: slice, columns: slice) -> None:
    inside = np.zeros((28, 32), bool)
    inside[rows, columns] = True
    assert (changed(Patch(place=place), pictures()) == inside).all()  # type: ignore[arg-type]


def test_a_random_patch_moves_from_image_to_image_and_with_its_seed() -> None:
    images = pictures(20)
    where = {tuple(np.argwhere(mask)[0]) for mask in changed(Patch(place="random"), images)}
    assert len(where) > 10
    assert (Patch(place="random", seed=1).apply(images) != Patch(place="random").apply(images)).any()
    assert changed(Patch(place="random"), images).sum(axis=(1, 2)).max() <= 9


def test_a_patch_that_does_not_fit_is_refused_with_both_sizes() -> None:
    with pytest.raises(ValueError, match="9-pixel patch with margin 1 does not fit 8 x 8"):
        Patch(size=9).apply(pictures(1, 8, 8)[0])


def test_blend_and_stripes_stay_within_their_bounds() -> None:
    images = pictures().astype(int)
    assert abs(Blend(alpha=0.1).apply(images.astype(np.uint8)) - images).max() <= 26
    assert abs(Sinusoid(delta=20).apply(images.astype(np.uint8)) - images).max() <= 20
    assert (Blend(alpha=0).apply(images.astype(np.uint8)) == images).all()


def test_a_warp_moves_pixels_and_invents_no_brightness() -> None:
    images = pictures()
    warped = Warp().apply(images)
    assert warped.min() >= images.min()
    assert warped.max() <= images.max()
    assert abs(warped.mean() - images.mean()) < 3
    flat = np.full((28, 28, 3), 90, np.uint8)
    assert (Warp().apply(flat) == flat).all(), "where there is nothing to move, nothing changes"


def test_a_warp_is_stronger_with_strength_and_another_with_its_seed() -> None:
    images = pictures()
    weak, strong = (np.abs(Warp(strength=s).apply(images).astype(int) - images).mean() for s in (0.3, 1.5))
    assert weak < strong
    assert (Warp(strength=0).apply(images) == images).all()
    assert (Warp(seed=1).apply(images) != Warp(seed=2).apply(images)).any()


def test_all_images_of_one_size_get_the_same_trigger() -> None:
    images = np.full((3, 28, 28, 3), 128, np.uint8)
    for attack in (Patch(), Blend(), Sinusoid()):
        poisoned = attack.apply(images)
        assert (poisoned == poisoned[0]).all()
