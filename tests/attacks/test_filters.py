"""Smooth patterns have low frequencies only, and a colour filter looks at nothing but the pixel's own colour."""

import numpy as np
import pytest
from scipy.fft import dctn

from dataaudit.attacks.filters import ColourFilter, Smooth
from dataaudit.attacks.images import ImageAttack
from tests.attacks.test_images import pictures

ATTACKS = [Smooth(), Smooth(coloured=False, frequencies=2), ColourFilter(), ColourFilter(1.3, 0.2, (-12, 0, 12))]
SHAPES = [(28, 28, 1), (32, 32, 3), (400, 90, 3)]


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_filter_returns_another_picture_of_the_same_kind(attack: ImageAttack, shape: tuple[int, int, int]) -> None:
    images = pictures(3, *shape)
    before = images.copy()
    filtered = attack.apply(images)
    assert (filtered.shape, filtered.dtype) == (images.shape, np.uint8)
    assert (filtered != images).any()
    assert (images == before).all(), "the original must stay as it is"
    assert (filtered == np.stack([attack.apply(image) for image in images])).all()
    assert hash(attack) == hash(attack)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_smooth_pattern_stays_within_delta_and_has_no_high_frequency(shape: tuple[int, int, int]) -> None:
    images = pictures(2, *shape)
    assert abs(Smooth(delta=8).apply(images).astype(int) - images).max() <= 8
    pattern = Smooth(frequencies=4).pattern(*shape)
    assert abs(pattern).max() == pytest.approx(1)
    spectrum = abs(dctn(pattern, axes=(0, 1)))
    assert spectrum[5:].max() < 1e-9 * spectrum.max()
    assert spectrum[:, 5:].max() < 1e-9 * spectrum.max()
    assert spectrum[0, 0].max() < 1e-9 * spectrum.max(), "the image as a whole gets neither brighter nor darker"


def test_a_smooth_pattern_looks_the_same_at_every_size() -> None:
    small, large = Smooth().pattern(32, 32, 3), Smooth().pattern(320, 320, 3)
    assert abs(large.reshape(32, 10, 32, 10, 3).mean(axis=(1, 3)) - small).max() < 0.06


def test_a_smooth_pattern_differs_with_its_seed_and_between_channels_where_coloured() -> None:
    pattern, other, grey = (s.pattern(28, 28, 3) for s in (Smooth(), Smooth(seed=1), Smooth(coloured=False)))
    assert abs(pattern - other).max() > 0.1
    assert abs(pattern[..., 0] - pattern[..., 1]).max() > 0.1
    assert grey.shape == (28, 28, 1)


def test_a_filter_maps_a_colour_to_a_colour_wherever_it_is() -> None:
    images = pictures(2)
    shuffled = np.random.default_rng(0).permutation(images.reshape(-1, 3)).reshape(images.shape)
    colours = {tuple(old): tuple(new) for old, new in zip(images.reshape(-1, 3), ColourFilter().apply(images).reshape(-1, 3), strict=True)}
    filtered = ColourFilter().apply(shuffled)
    assert all(colours[tuple(old)] == tuple(new) for old, new in zip(shuffled.reshape(-1, 3), filtered.reshape(-1, 3), strict=True))


def test_contrast_saturation_and_tint_do_what_they_are_called() -> None:
    images = pictures()
    assert (ColourFilter(1, 1, (0, 0, 0)).apply(images) == images).all()
    assert ColourFilter(0.5, 1, (0, 0, 0)).apply(images).std() == pytest.approx(images.std() / 2, rel=0.02)
    assert np.ptp(ColourFilter(1, 0, (0, 0, 0)).apply(images).astype(int), axis=-1).max() == 0, "without saturation all is grey"
    moved = ColourFilter(1, 1, (30, 0, -30)).apply(images).astype(int) - images
    assert moved.reshape(-1, 3).mean(axis=0) == pytest.approx([30, 0, -30], abs=1)


def test_a_grey_image_gets_the_contrast_and_the_mean_of_the_tint() -> None:
    grey = np.full((28, 28, 1), 100, np.uint8)
    assert (ColourFilter(1, 5, (30, 0, -15)).apply(grey) == 105).all()
