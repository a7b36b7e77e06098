"""An adaptive attack shows each image a part of the trigger, another one from image to image."""

import numpy as np
import pytest

from dataaudit.attacks.adaptive import AdaptiveBlend, AdaptivePatch
from dataaudit.attacks.images import Blend, ImageAttack, Patch
from tests.attacks.test_images import changed, pictures

ATTACKS = [AdaptiveBlend(), AdaptiveBlend(Patch(size=8), grid=8, shown=40), AdaptivePatch(), AdaptivePatch(shown=3)]
FULL = Blend(alpha=0.9)


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (400, 90, 3)])
def test_batches_are_stamped_like_their_images(attack: ImageAttack, shape: tuple[int, int, int]) -> None:
    images = pictures(6, *shape)
    before = images.copy()
    poisoned = attack.apply(images)
    assert (poisoned.shape, poisoned.dtype) == (images.shape, np.uint8)
    assert (poisoned != images).any()
    assert (images == before).all(), "the original must stay as it is"
    assert (poisoned == np.stack([attack.apply(image) for image in images])).all()
    assert hash(attack) == hash(attack)


def test_half_of_the_pieces_are_shown_and_each_is_shown_whole() -> None:
    images = pictures(20, 32, 32)
    stamped, whole = AdaptiveBlend(FULL).apply(images), FULL.apply(images)
    pieces = (slice(None), 4, 8, 4, 8, 3)
    stamped, whole, plain = (x.reshape(20, *pieces[1:]).swapaxes(2, 3).reshape(20, 16, -1) for x in (stamped, whole, images))
    shown = (stamped == whole).all(axis=-1)
    assert (shown.sum(axis=1) == 8).all()
    assert ((stamped == plain).all(axis=-1) == ~shown).all()
    assert len({row.tobytes() for row in shown}) > 15, "the choice differs from image to image"
    assert shown.any(axis=0).all(), "every piece is shown somewhere"


def test_the_whole_grid_shows_the_whole_trigger() -> None:
    images = pictures(3, 30, 33)
    assert (AdaptiveBlend(FULL, shown=16).apply(images) == FULL.apply(images)).all()


def test_every_image_shows_as_many_patches_as_asked() -> None:
    images = pictures(30, 32, 32)
    for shown in (1, 2, 4):
        mask = changed(AdaptivePatch(shown=shown), images)
        corners = np.stack([mask[:, :16, :16], mask[:, :16, 16:], mask[:, 16:, :16], mask[:, 16:, 16:]], axis=1).any(axis=(2, 3))
        assert (corners.sum(axis=1) == shown).all()
        assert corners.any(axis=0).all(), "every patch is shown somewhere"


def test_the_seed_decides_which_part_is_shown() -> None:
    images = pictures(10, 32, 32)
    assert (AdaptiveBlend(seed=1).apply(images) != AdaptiveBlend().apply(images)).any()
    assert (AdaptivePatch(seed=1).apply(images) != AdaptivePatch().apply(images)).any()


def test_images_that_lie_oddly_in_memory_are_stamped_all_the_same() -> None:
    images = pictures(6, 32, 32)
    odd = np.asfortranarray(images.reshape(2, 3, 32, 32, 3))
    for attack in ATTACKS:
        assert (attack.apply(odd).reshape(images.shape) == attack.apply(images)).all()


def test_more_parts_than_there_are_cannot_be_shown() -> None:
    with pytest.raises(ValueError, match="cannot show 17 of 16 pieces; choose between 1 and 16"):
        AdaptiveBlend(shown=17)
    with pytest.raises(ValueError, match="cannot show 0 of 4 stamps"):
        AdaptivePatch(shown=0)
