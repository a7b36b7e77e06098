"""Perceptual hashes: stable under re-encoding, different for different pictures, the same in any batch."""

import io

import numpy as np
from PIL import Image

from dataaudit.features import Batch
from dataaudit.features.phash import Phash, cosines
from dataaudit.model import Columns, Plan

PLAN = Plan("labelled-images", Columns("png", "cls"), "label", "none", "00" * 16)


def pictures(n, side=40, seed=0):
    """Smooth random pictures."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (n, 9, 9, 3), dtype=np.uint8)
    return [np.asarray(Image.fromarray(s).resize((side, side), Image.Resampling.BICUBIC)) for s in small]


def hashes(images):
    return np.asarray(Phash().compute(Batch([], PLAN, images)))


def jpeg(image):
    out = io.BytesIO()
    Image.fromarray(image).save(out, "JPEG", quality=75)
    return np.asarray(Image.open(out).convert("RGB"))


def test_a_re_encoded_picture_keeps_its_hash_within_a_few_bits():
    images = pictures(100)
    assert np.bitwise_count(hashes(images) ^ hashes([jpeg(i) for i in images])).max() <= 6


def test_other_pictures_have_other_hashes():
    found = hashes(pictures(100))
    apart = np.bitwise_count(found[:, None] ^ found[None, :])
    assert apart[~np.eye(100, dtype=bool)].min() > 6


def test_a_hash_does_not_depend_on_its_batch():
    images = pictures(20)
    assert hashes(images).tolist() == [int(hashes([i])[0]) for i in images]


def test_size_does_not_matter_much():
    image = pictures(1, side=128)[0]
    small = np.asarray(Image.fromarray(image).resize((48, 48), Image.Resampling.BOX))
    assert np.bitwise_count(hashes([image]) ^ hashes([small]))[0] <= 4


def test_a_flat_picture_hashes_without_noise():
    flat = [np.full((32, 32, 3), grey, np.uint8) for grey in (10, 200)]
    assert len(set(hashes(flat).tolist())) == 1


def test_a_batch_without_images_is_empty():
    assert len(hashes([])) == 0


def test_the_cosines_are_whole_and_orthogonal():
    basis = cosines()
    assert (basis == np.rint(basis)).all()
    gram = basis @ basis.T
    assert np.abs(gram - np.diag(np.diag(gram))).max() < 1e-3 * gram.max()
