"""Image attacks keep shape and type, are pure, and change no more than they say."""

import hashlib

import numpy as np
import pytest
from numpy.typing import NDArray

from dataaudit.attacks.images import Blend, BlendPicture, ImageAttack, Patch, Place, Sinusoid, Warp

PICTURE = np.random.default_rng(9).integers(0, 256, (6, 8, 3), np.uint8).repeat(5, axis=0).repeat(5, axis=1)
ATTACKS = [
    Patch(),
    Patch(size=5, coloured=True),
    Patch(size=1),
    Patch(place="random"),
    Patch(place="random", share=0.15),
    Patch(share=3 / 32, alpha=0.5),
    Blend(),
    Blend(coloured=False),
    BlendPicture.of(PICTURE),
    Warp(),
    Warp(noise=0.5),
    Sinusoid(),
]


def pictures(n: int = 4, height: int = 28, width: int = 32, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth pictures, as photographs are: noise would hide what a warp does."""
    coarse = np.random.default_rng(seed).integers(40, 216, (n, 4, 4, channels))
    return coarse[:, np.arange(height) * 4 // height][:, :, np.arange(width) * 4 // width].astype(np.uint8)


def changed(attack: ImageAttack, images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return (attack.apply(images) != images).any(axis=-1)


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (16, 40, 3), (400, 90, 3)])
def test_every_attack_returns_another_picture_of_the_same_kind(attack: ImageAttack, shape: tuple[int, int, int]) -> None:
    before = pictures(1, *shape)[0]
    image = before.copy()
    poisoned = attack.apply(image)
    assert poisoned.shape == shape
    assert poisoned.dtype == np.uint8
    assert (poisoned != image).any()
    assert (image == before).all(), "the original must stay as it is"
    assert (attack.apply(image) == poisoned).all()
    assert hash(attack) == hash(attack)


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


@pytest.mark.parametrize("place", ["bottom-right", "random"])
def test_a_patch_of_one_pixel_is_one_bright_pixel(place: Place) -> None:
    images = pictures()
    mask = changed(Patch(size=1, place=place), images)
    assert (mask.sum(axis=(1, 2)) == 1).all()
    assert (Patch(size=1, place=place).apply(images)[mask] == 255).all()


@pytest.mark.parametrize("place", ["top-left", "bottom-right"])
def test_a_patch_with_a_share_is_the_same_picture_at_every_size(place: Place) -> None:
    small, large = np.full((32, 32, 3), 90, np.uint8), np.full((384, 384, 3), 90, np.uint8)
    patch = Patch(size=3, share=3 / 32, place=place, coloured=True)
    assert (patch.apply(small) == Patch(size=3, place=place, coloured=True).apply(small)).all()
    assert (patch.apply(large) == patch.apply(small).repeat(12, axis=0).repeat(12, axis=1)).all()


def test_a_share_is_of_the_shorter_side_and_never_less_than_the_pattern() -> None:
    assert changed(Patch(share=0.1), pictures(1, 400, 90)).sum() == 9 * 9
    assert changed(Patch(share=0.01), pictures(1)).sum() == 3 * 3
    assert changed(Patch(share=0.1, place="random"), pictures(1, 400, 90)).sum() == 9 * 9
    with pytest.raises(ValueError, match="27-pixel patch with margin 9 does not fit 28 x 32"):
        Patch(share=0.95).apply(pictures(1)[0])


def test_a_transparent_patch_lets_the_picture_through() -> None:
    images = pictures()
    opaque, half = Patch().apply(images).astype(int), Patch(alpha=0.5).apply(images).astype(int)
    assert (abs(half * 2 - opaque - images) <= 1).all()
    assert (Patch(alpha=0).apply(images) == images).all()


def test_a_blended_picture_stays_within_its_bound_and_can_be_seen() -> None:
    images = pictures(height=30, width=40)
    assert abs(BlendPicture.of(PICTURE, alpha=0.1).apply(images).astype(int) - images).max() <= 26
    assert (BlendPicture.of(PICTURE, alpha=1.0).apply(images) == PICTURE).all(), "the picture has this size: it is shown as it is"
    assert BlendPicture.of(PICTURE) == BlendPicture.of(PICTURE.copy()), "equal pictures make equal attacks"


def test_a_blended_picture_is_stretched_and_greyed_to_fit() -> None:
    upright = BlendPicture.of(PICTURE, alpha=1.0).apply(pictures(1, 400, 90)[0])
    assert abs(upright.mean(axis=(0, 1)) - PICTURE.mean(axis=(0, 1))).max() < 3
    grey = BlendPicture.of(PICTURE[..., :1], alpha=1.0).apply(pictures(1, 30, 40)[0])
    assert (grey == PICTURE[..., :1]).all()


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


def test_a_warp_with_noise_moves_every_image_in_its_own_way() -> None:
    """The same columns of brightness, but one pixel is marked: only the noise can make the images differ elsewhere."""
    images = np.arange(0, 224, 7, dtype=np.uint8)[None, None, :, None].repeat(28, axis=1).repeat(2, axis=0)
    images[1, 0, 0] = 9
    same, noisy = Warp().apply(images), Warp(noise=0.5).apply(images)
    assert (same[0] != same[1]).mean() < 0.05
    assert (noisy[0] != noisy[1]).mean() > 0.5
    assert abs(noisy[:, 4:, 4:].astype(int) - same[:, 4:, 4:]).max() <= 7 / 2 + 1, "half a pixel is half a step of brightness"
    assert (Warp(noise=0.5).apply(images) == noisy).all()


def test_the_settings_of_the_sample_data_give_the_bytes_they_always_gave() -> None:
    """`sample_data` and its manifest were made with these; a change of a single pixel would make them lie."""
    images = (np.arange(2 * 24 * 20 * 3, dtype=np.uint32) * 2654435761 >> 24).astype(np.uint8).reshape(2, 24, 20, 3)
    attacks = [Patch(size=3), Patch(place="random", seed=2), Warp(0.75, seed=3), Blend(0.1, False, 7), Sinusoid()]
    digest = hashlib.sha256(b"".join(attack.apply(images).tobytes() for attack in attacks)).hexdigest()
    assert digest == "1867f705051e0289331012d33e4ea3f9bcda6af88cee35866a8cfdd969f157ad"


def test_all_images_of_one_size_get_the_same_trigger() -> None:
    images = np.full((3, 28, 28, 3), 128, np.uint8)
    for attack in (Patch(), Patch(share=0.2), Blend(), BlendPicture.of(PICTURE), Sinusoid()):
        poisoned = attack.apply(images)
        assert (poisoned == poisoned[0]).all()
