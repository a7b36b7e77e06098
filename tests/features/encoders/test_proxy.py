"""A proxy learns what the pairs say, goes on from a checkpoint to the bit, and trusts no file that is not its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dataaudit.errors import EncoderError
from dataaudit.features.encoders import proxy
from dataaudit.features.encoders.proxy import Pairs

COLOURS = ("red", "green", "blue", "white")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A smaller network, on one thread as on a worker."""
    from threadpoolctl import threadpool_limits

    monkeypatch.setattr(proxy, "VISION", proxy.VISION | {"width": 8})
    monkeypatch.setattr(proxy, "TEXT", proxy.TEXT | {"width": 48})
    proxy.load.cache_clear()
    with threadpool_limits(1):
        yield
    proxy.load.cache_clear()


def pairs(number: int = 128) -> Pairs:
    """Plain pictures in four colours, and what colour each is."""
    rng = np.random.default_rng(0)
    shades = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200], [220, 220, 220]])
    colour = np.arange(number) % len(COLOURS)
    pictures = shades[colour][:, None, None] + rng.integers(-20, 20, (number, 32, 32, 3))
    return Pairs(pictures.astype(np.uint8), [f"a {COLOURS[c]} wall" for c in colour])


def trained(folder: Path, epochs: int, known: Pairs, begin: int = 0) -> Path:
    """The checkpoint after all epochs."""
    for epoch in range(begin, epochs):
        proxy.learn(known, epoch, epochs, 7, folder / f"{epoch - 1}.safetensors" if epoch else None, folder / f"{epoch}.safetensors")
    return folder / f"{epochs - 1}.safetensors"


def test_pictures_come_to_agree_with_their_captions(tmp_path: Path) -> None:
    known = pairs(32)
    last = trained(tmp_path, 30, known)
    model = proxy.load(last, proxy.sha256(last))
    seen, read = model.see(known.pictures), model.read(known.captions)
    agree = seen @ read.T
    colour = np.arange(len(seen)) % len(COLOURS)
    same = colour[:, None] == colour
    assert agree[same].mean() > agree[~same].mean() + 0.3
    np.testing.assert_allclose(np.linalg.norm(seen, axis=1), 1, rtol=1e-5)


def test_a_run_that_was_stopped_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    at_once = trained(tmp_path / "a", 2, pairs())
    trained(tmp_path / "b", 2, pairs())
    (tmp_path / "b" / "1.safetensors").unlink()
    assert trained(tmp_path / "b", 2, pairs(), begin=1).read_bytes() == at_once.read_bytes()


def test_no_vector_depends_on_how_many_there_are(tmp_path: Path) -> None:
    known = pairs()
    model = proxy.load(path := trained(tmp_path, 1, known), proxy.sha256(path))
    assert np.array_equal(model.see(known.pictures[:1]), model.see(known.pictures)[:1])
    assert np.array_equal(model.read(known.captions[:1]), model.read(known.captions)[:1])
    assert model.see(known.pictures[:0]).shape == model.read([]).shape == (0, proxy.WIDTH)


@pytest.mark.parametrize("content", [b"", b"\x80\x04]", b"\xff" * 64], ids=["empty", "a pickle", "noise"])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "0.safetensors"
    path.write_bytes(content)
    with pytest.raises(EncoderError, match="delete it and run again"):
        proxy.learn(pairs(), 1, 2, 7, path, tmp_path / "1.safetensors")
    with pytest.raises(EncoderError, match="delete it and run again"):
        proxy.load(path, proxy.sha256(path))


def test_a_checkpoint_that_was_exchanged_is_noticed(tmp_path: Path) -> None:
    path = trained(tmp_path, 1, pairs())
    with pytest.raises(EncoderError, match="not the proxy that was trained here"):
        proxy.load(path, "00" * 32)


def test_captions_are_words_and_an_end() -> None:
    found = proxy.tokens(["A dog!", "a DOG", "", "word " * 100])
    assert np.array_equal(found[0], found[1])
    assert found[2].tolist() == [proxy.WORDS - 1] + [0] * (proxy.CONTEXT - 1)
    assert found[3, -1] == proxy.WORDS - 1
    assert found.max() < proxy.WORDS


def test_an_epoch_sees_every_pair_but_a_few_that_would_be_alone() -> None:
    def seen(number: int) -> int:
        return sum(map(len, proxy.batches(number, np.random.default_rng(0))))

    assert [seen(n) for n in (1, 100, 128, 140, 200, 256)] == [1, 100, 128, 128, 200, 256]


def test_the_rate_rises_and_falls() -> None:
    rates = [proxy.rate(step, 100) for step in range(100)]
    assert np.argmax(rates) in range(7, 12)
    assert rates[-1] < 0.01 * max(rates)
    assert max(rates) <= proxy.RATE
