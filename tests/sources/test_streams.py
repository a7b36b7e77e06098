"""Forward streams: the same bytes however they are packed and asked for, and the digest of what lay there."""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dataaudit.sources.contract import Digest, Limits, UnreadableError
from dataaudit.sources.streams import Stream

PACKERS = {"": bytes, "gzip": gzip.compress, "zstd": zstandard.compress}


@given(st.lists(st.binary(max_size=400), max_size=6), st.sampled_from(list(PACKERS)), st.lists(st.integers(0, 300), max_size=12))
@hypothesis_settings(max_examples=120, deadline=None)
def test_any_packing_and_any_steps_give_the_same_bytes(parts: list[bytes], kind, steps: list[int]) -> None:
    raw = b"".join(PACKERS[kind](part) for part in parts)  # several members or frames, as `cat` makes them
    stream, plain, got = Stream(io.BytesIO(raw), kind, Limits()), b"".join(parts), b""
    for i, step in enumerate(steps):
        if i % 2:
            got += stream.read(step)
        else:
            at = stream.position
            got += plain[at : at + stream.skip(step)]
    got += stream.read(1 << 20)
    assert got == plain
    assert stream.position == len(plain)
    assert stream.digest() == Digest(hashlib.sha256(raw).hexdigest(), len(raw))


@given(st.lists(st.binary(max_size=20).map(lambda b: b.replace(b"\n", b"")), max_size=10))
def test_lines_are_whole_and_cut_at_the_limit(lines: list[bytes]) -> None:
    stream = Stream(io.BytesIO(b"".join(line + b"\n" for line in lines)), "", Limits())
    assert [stream.line(7) for _ in lines] == [(line[:7], len(line) + 1) for line in lines]
    assert stream.line(7) == (b"", 0)


def test_gzip_padding_is_passed_over_and_other_tails_are_not() -> None:
    packed = gzip.compress(b"data")
    assert Stream(io.BytesIO(packed + bytes(700)), "gzip", Limits()).read(99) == b"data"
    with pytest.raises(UnreadableError, match="damaged"):
        Stream(io.BytesIO(packed + b"tail"), "gzip", Limits()).read(99)


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_every_cut_is_noticed(kind) -> None:
    packed = PACKERS[kind](zlib.compress(bytes(range(256)) * 4))
    for cut in range(1, len(packed)):
        with pytest.raises(UnreadableError):
            Stream(io.BytesIO(packed[:cut]), kind, Limits()).read(1 << 20)
