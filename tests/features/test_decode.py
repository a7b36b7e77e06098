"""Decoding: every mode becomes RGB, and what cannot be looked at says why."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dataaudit.features.decode import Limits, decode, decode_image
from dataaudit.features.thumbnail import Thumbnail, from_column, thumbnail
from dataaudit.model import Columns, Plan, Sample

PLAN = Plan("labelled-images", Columns("png", "cls"), "label", "efficientnet-lite2", "00" * 16)


def encoded(mode: str = "RGB", size: tuple[int, int] = (9, 7), form: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new(mode, size).save(out, format=form)
    return out.getvalue()


def sample(content: bytes | None) -> Sample:
    return Sample("a.tar#x", "x", content, "cat", 0, 1)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    decoded = decode_image(encoded(mode), Limits())
    assert isinstance(decoded, np.ndarray)
    assert (decoded.shape, decoded.dtype) == ((7, 9, 3), np.uint8)


def test_transparency_lies_on_white() -> None:
    decoded = decode_image(encoded("RGBA"), Limits())
    assert isinstance(decoded, np.ndarray)
    assert decoded.min() == 255


@pytest.mark.parametrize(
    ("content", "limits", "reason"),
    [
        (b"no picture", Limits(), "not an image of a known format"),
        (encoded(size=(64, 64), form="JPEG")[:-20], Limits(), "damaged"),
        (encoded(size=(40, 40)), Limits(pixels=1000), "40 x 40 pixels, the limit is 1000"),
        (encoded(size=(400, 1)), Limits(), "times as long as wide"),
        (encoded(), Limits(bytes=10), "the limit is 10"),
        (encoded(form="PPM"), Limits(), "not an image of a known format"),
        (None, Limits(), "no content"),
    ],
)
def test_what_cannot_be_looked_at_is_skipped_with_its_reason(content: bytes | None, limits: Limits, reason: str) -> None:
    batch, skipped = decode([sample(content), sample(encoded(size=(8, 8)) if limits.bytes > 10 else content)], PLAN, limits)
    assert reason in skipped[0].reason
    assert skipped[0].subject == "a.tar#x"
    assert len(batch.samples) == len(batch.images)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damage_is_a_reason_and_never_a_crash(data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"]))
    content = bytearray(encoded(form=form))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    decoded = decode_image(bytes(content[: data.draw(st.integers(1, len(content)))]), Limits(pixels=10_000))
    assert isinstance(decoded, (str, np.ndarray))


def test_small_pictures_are_centred_and_not_resampled() -> None:
    image = np.random.default_rng(0).integers(0, 256, (28, 20, 3)).astype(np.uint8)
    canonical = thumbnail(image)
    assert np.array_equal(canonical[2:30, 6:26], image)
    assert np.array_equal(canonical[0, 6:26], image[0])
    assert thumbnail(np.zeros((300, 90, 3), np.uint8)).shape == (32, 32, 3)


def test_the_column_gives_back_the_pictures_however_it_is_cut() -> None:
    import pyarrow as pa

    images = [np.full((32, 32, 3), i, np.uint8) for i in range(5)]
    batch, _ = decode([sample(encoded())], PLAN)
    assert len(Thumbnail().compute(batch)) == 1
    column = pa.chunked_array(
        [pa.array([i.tobytes() for i in images], pa.binary(3072)).slice(1, 2), pa.array([images[4].tobytes()], pa.binary(3072))]
    )
    assert from_column(column)[:, 0, 0, 0].tolist() == [1, 2, 4]


def test_a_photograph_is_made_smaller_before_it_joins_a_batch():
    out = io.BytesIO()
    Image.new("RGB", (3000, 1000), "red").save(out, "JPEG")
    decoded = decode_image(out.getvalue(), Limits())
    assert decoded.shape == (171, 512, 3)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{"quality": 75}, {"quality": 95, "subsampling": 0}, {"progressive": True}, {"optimize": True}])
@pytest.mark.parametrize("size", [(32, 32), (33, 17), (500, 300)])
def test_a_jpeg_has_the_pixels_that_pillow_sees(mode: str, options: dict[str, object], size: tuple[int, int]) -> None:
    noise = Image.fromarray(np.random.default_rng(3).integers(0, 256, (9, 9, 3), dtype=np.uint8)).resize(size).convert(mode)
    out = io.BytesIO()
    noise.save(out, "JPEG", **options)
    decoded = decode_image(out.getvalue(), Limits())
    assert isinstance(decoded, np.ndarray)
    assert np.array_equal(decoded, np.asarray(Image.open(out).convert("RGB")))


@pytest.mark.parametrize("cut", [20, 300, 2000])
def test_a_jpeg_that_is_cut_off_is_damaged_as_pillow_says(cut: int) -> None:
    picture = Image.fromarray(np.random.default_rng(4).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    out = io.BytesIO()
    picture.save(out, "JPEG")
    assert "damaged" in str(decode_image(out.getvalue()[:-cut], Limits()))


def test_a_large_jpeg_is_decoded_small_and_looks_the_same() -> None:
    smooth = Image.fromarray(np.random.default_rng(5).integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((2600, 2100))
    out = io.BytesIO()
    smooth.save(out, "JPEG", quality=95)
    decoded = decode_image(out.getvalue(), Limits())
    assert isinstance(decoded, np.ndarray)
    smooth.thumbnail((512, 512), Image.Resampling.BOX)
    assert decoded.shape == np.asarray(smooth).shape
    assert np.abs(decoded.astype(int) - np.asarray(smooth)).mean() < 2
