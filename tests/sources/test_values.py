"""Raw values: what passes is usable everywhere downstream, what does not says why."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dataaudit.sources import values
from dataaudit.sources.contract import Limits, UnreadableError

LIMITS = Limits(text_chars=50, vector_size=16)


@given(st.binary(max_size=80) | st.text(st.characters(), max_size=80) | st.none() | st.integers())
@hypothesis_settings(max_examples=150)
def test_text_that_passes_can_be_written_out(value: object) -> None:
    try:
        told = values.text(value, "it", LIMITS)
    except UnreadableError:
        return
    assert told.encode("utf-8").decode("utf-8") == told
    assert len(told) <= 50


@pytest.mark.parametrize(
    ("value", "told"), [(3, "3"), (-3, "-3"), (3.0, "3"), (0.5, "0.5"), (True, "true"), (" a ", " a "), (b"a", "a"), (1e300, "1e+300")]
)
def test_labels_are_text(value: object, told: str) -> None:
    assert values.target(value, "it", LIMITS) == told


@pytest.mark.parametrize("value", [None, "", " \n", float("nan"), [1], {"a": 1}, 1 << 300, "\ud800", b"\xff"])
def test_what_is_no_label_is_refused(value: object) -> None:
    with pytest.raises(UnreadableError):
        values.target(value, "it", LIMITS)


@given(
    st.lists(st.floats(width=16, allow_nan=False, allow_infinity=False), min_size=1, max_size=16), st.sampled_from(["<f2", "<f4", "<f8"])
)
@hypothesis_settings(max_examples=60)
def test_npy_files_are_read_without_their_library(numbers: list[float], dtype: str) -> None:
    out = io.BytesIO()
    np.save(out, np.array(numbers, dtype=dtype))
    assert values.vector(out.getvalue(), "it", LIMITS).tolist() == np.array(numbers, dtype=np.float32).tolist()


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 2)),
        np.zeros(3, ">f4"),
        np.zeros(3, int),
        np.zeros(0),
        np.zeros(17),
        np.array([None]),
        np.array([np.inf]),
        np.array(1.0),
    ],
)
def test_other_npy_files_are_refused(array: np.ndarray) -> None:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    with pytest.raises(UnreadableError):
        values.vector(out.getvalue(), "it", LIMITS)
    with pytest.raises(UnreadableError):
        values.vector(out.getvalue()[:-1], "it", LIMITS)


@given(
    st.binary(max_size=200).map(lambda tail: b"\x93NUMPY" + tail)
    | st.lists(st.none() | st.integers() | st.floats() | st.booleans(), max_size=20)
)
@hypothesis_settings(max_examples=100)
def test_nothing_but_finite_vectors_passes(value: object) -> None:
    try:
        found = values.vector(value, "it", LIMITS)
    except UnreadableError:
        return
    assert found.dtype == np.float32
    assert np.isfinite(found).all()


def test_json_beyond_sense_is_refused() -> None:
    for raw in (b"{", b"[]", b"\xff", b'{"a":' * 100_000, b'{"a": ' + b"1" * 9999 + b"}"):
        with pytest.raises(UnreadableError):
            values.record(raw, "it")
    assert values.record(json.dumps({"a": "ü"}).encode(), "it") == {"a": "ü"}


@given(st.lists(st.sampled_from(["a", "b", "a~2", "a~3", "a~2~2"]), max_size=30))
def test_keys_never_collide(found: list[str]) -> None:
    keys = values.Keys()
    admitted = [keys.admit(key) for key in found]
    assert len({key for key, _ in admitted}) == len(found)
    assert all(not told or told["repeated_key"] == key for key, (_, told) in zip(found, admitted, strict=True))
