"""Near-duplicates are all different, and all nearly the same."""

import numpy as np
import pytest
from numpy.typing import NDArray

from dataaudit.attacks.copies import near_duplicates, retouched


def scene(height: int, width: int, channels: int) -> NDArray[np.uint8]:
    """Something without edges, as a one-pixel shift changes a picture by its slope."""
    rows, columns = np.indices((height, width))
    waves = [128 + 60 * np.sin(rows / 9 + k) * np.cos(columns / 7) for k in range(channels)]
    return np.stack(waves, axis=-1).astype(np.uint8)


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (400, 90, 3)])
def test_copies_are_distinct_and_close_to_the_image(shape: tuple[int, int, int]) -> None:
    image = scene(*shape)
    copies = near_duplicates(image, 25)
    assert (copies.shape, copies.dtype) == ((25, *shape), np.uint8)
    assert len({copy.tobytes() for copy in copies} | {image.tobytes()}) == 26
    assert abs(copies.astype(int) - image).mean(axis=(1, 2, 3)).max() < 12
    assert abs(copies.mean(axis=(1, 2, 3)) - image.mean()).max() < 5


def test_copies_are_made_by_the_seed_and_fewer_are_the_first_of_more() -> None:
    image = scene(32, 32, 3)
    assert (near_duplicates(image, 9, seed=1) == near_duplicates(image, 9, seed=1)).all()
    assert (near_duplicates(image, 9, seed=1) != near_duplicates(image, 9, seed=2)).any()
    assert (near_duplicates(image, 20)[:5] == near_duplicates(image, 5)).all()
    assert near_duplicates(image, 0).shape == (0, 32, 32, 3)


def test_a_flat_image_only_gets_brighter_or_darker() -> None:
    copies = near_duplicates(np.full((16, 16, 3), 90, np.uint8), 60)
    assert set(np.unique(copies)) <= set(range(87, 94))


def test_more_copies_than_there_are_ways_to_make_one_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot make 5000 near-duplicates: there are 1305 ways"):
        near_duplicates(scene(28, 28, 1), 5000)


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (90, 200, 3)])
def test_retouched_versions_are_distinct_look_alike_and_begin_the_same(shape: tuple[int, int, int]) -> None:
    image = scene(*shape)
    versions = retouched(image, 30, seed=3)
    assert (versions.shape, versions.dtype) == ((30, *shape), np.uint8)
    assert len({version.tobytes() for version in versions} | {image.tobytes()}) == 31
    assert abs(versions.astype(int) - image).mean() < 25
    assert (retouched(image, 5, seed=3) == versions[:5]).all()
    assert (retouched(image, 5, seed=4) != versions[:5]).any()
    assert retouched(image, 0).shape == (0, *shape)
