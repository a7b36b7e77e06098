"""A change of the pixels is shown as a picture, located, or named by its frequency."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from dataaudit.features.change import frequency, locate, picture

ROWS, COLUMNS = np.mgrid[:32, :32]


def test_a_picture_is_a_small_png_with_grey_where_nothing_changes() -> None:
    change = np.zeros((32, 32))
    change[28:31, 28:31] = 5
    shown = base64.b64decode(picture(change))
    opened = Image.open(io.BytesIO(shown))
    assert opened.size == (128, 128)
    assert len(shown) <= 8192
    assert opened.getpixel((0, 0)) in (127, 128)
    assert opened.getpixel((116, 116)) == 255


def test_a_patch_has_a_place_and_noise_has_none() -> None:
    change = np.zeros((32, 32))
    change[28:31, 27:31] = 5
    assert locate(change) == [27, 28, 4, 3]
    assert locate(np.random.default_rng(0).normal(size=(32, 32))) is None
    assert locate(np.zeros((32, 32))) is None


@pytest.mark.parametrize(("across", "down"), [(6, 0), (0, 5), (3, 4), (16, 0), (0, 16)])
def test_a_wave_is_named_by_its_periods(across: int, down: int) -> None:
    noise = np.random.default_rng(1).normal(size=(32, 32))
    wave = np.cos(2 * np.pi * (across * COLUMNS + down * ROWS) / 32)
    assert frequency(3 * wave + 0.3 * noise) == [across, down]
    assert frequency(noise) is None
    assert frequency(np.zeros((32, 32))) is None
