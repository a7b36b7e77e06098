"""MinHash signatures estimate how many shingles two texts share."""

import json
import subprocess
import sys

import numpy as np
import pytest
from datasketch import MinHash
from hypothesis import given
from hypothesis import strategies as st

from dataaudit.features import Batch, minhash
from dataaudit.features.minhash import PERMUTATIONS, Minhash, shingle_hashes, shingles, units
from dataaudit.model import Columns, Plan, Sample


def signatures(texts, salt="00" * 16):
    plan = Plan("labelled-text", Columns("text", "label"), "label", "none", salt)
    column = Minhash().compute(Batch([Sample(str(i), str(i), t, "a", 0, 0) for i, t in enumerate(texts)], plan))
    assert column.type.list_size == PERMUTATIONS
    return np.asarray(column.flatten()).reshape(-1, PERMUTATIONS)


def words(n, seed=0):
    return [f"w{i}" for i in np.random.default_rng(seed).integers(0, 5000, n)]


@pytest.mark.parametrize("edits", [0, 1, 5, 20])
def test_the_share_of_equal_values_estimates_the_jaccard_similarity(edits):
    before = words(300)
    after = [f"new{i}" if i < edits * 15 and i % 15 == 0 else w for i, w in enumerate(before)]
    a, b = (shingles(" ".join(t), 5, 40, 5) for t in (before, after))
    one, other = signatures([" ".join(before), " ".join(after)])
    assert abs(np.mean(one == other) - len(a & b) / len(a | b)) < 4 * 0.045


def test_signatures_are_datasketchs_to_the_bit_and_every_shingle_is_hashed_once():
    texts = [" ".join(words(n, n)) for n in (0, 1, 3, 39, 40, 41, 200)] + ["ab", "a\udcff\u4e2d\u6587 text"]
    made = units(texts, 5, 40, 5, b"k" * 16)
    hashed = shingle_hashes(made)
    for i, (text, signature) in enumerate(zip(texts, minhash.signatures(made), strict=True)):
        start = made.ends[i - 1] if i else 0
        own = set(hashed[start : max(start, made.ends[i] - made.width[i] + 1)].tolist())
        assert len(own) == len(shingles(text, 5, 40, 5))
        theirs = MinHash(num_perm=PERMUTATIONS, seed=1, scheme="affine32", hashfunc=int)
        theirs.update_batch(own)
        assert np.array_equal(signature, theirs.hashvalues)


def test_words_are_hashed_as_python_hashes_bytes_when_its_secret_is_known():
    words = ["a", "ab", "abc", "straße", "\u4e2d\u6587", "x" * 64, "y" * 129]
    made = units([" ".join(words * 6)], 5, 40, 5, bytes(16))
    told = f"print([hash(w.encode('utf-32-le')) % 2**64 for w in {words!r}])"
    zero = subprocess.run(
        [sys.executable, "-c", told], env={"PYTHONHASHSEED": "0", "PYTHONUTF8": "1"}, capture_output=True, text=True, check=True
    )
    assert sys.hash_info.algorithm == "siphash13"
    assert made.hashes[: len(words)].tolist() == json.loads(zero.stdout)


@given(st.lists(st.text(st.sampled_from("abİΣς ß.\n_\u4e2d\udcff"), max_size=30), min_size=1, max_size=5), st.sampled_from([1, 3, 40]))
def test_units_are_the_words_or_characters_of_each_text(texts, short):
    made = units(texts, 2, short, 5, bytes(16))
    for i, text in enumerate(texts):
        own = made.hashes[made.ends[i - 1] if i else 0 : made.ends[i]]
        found = minhash.WORD.findall(minhash.folded(text))
        if len(found) >= short:
            assert len(own) == len(found)
            assert len(set(own.tolist())) == len(set(found))
        else:
            spelt = np.array(list(map(ord, " ".join(found))), np.uint64)
            assert own.tolist() == minhash.mixed(spelt).tolist()


def test_a_capital_sigma_is_the_same_letter_wherever_it_stands():
    one, other = signatures(["\u039f\u0394\u039f\u03a3", "\u03bf\u03b4\u03bf\u03c2"])
    assert (one == other).all()


def test_a_short_text_with_one_word_changed_stays_similar():
    one, other = signatures(["what would you like to eat for dinner tonight", "what would you like to eat for supper tonight"])
    assert np.mean(one == other) > 0.5


def test_case_and_punctuation_do_not_matter():
    one, other = signatures(["Hello there, World!", "hello there world"])
    assert (one == other).all()


def test_the_salt_changes_the_signature():
    assert (signatures(["hello there"]) != signatures(["hello there"], "01" * 16)).any()


def test_a_text_without_a_word_has_the_empty_signature():
    assert (signatures(["", "  ...  "]) == np.iinfo(np.uint32).max).all()


def test_lone_surrogates_do_not_stop_it():
    assert signatures(["broken \udcff text"]).shape == (1, PERMUTATIONS)


@given(st.lists(st.text(max_size=60), min_size=1, max_size=5))
def test_a_signature_does_not_depend_on_its_batch(texts):
    assert (signatures(texts) == np.concatenate([signatures([t]) for t in texts])).all()


@given(st.text(max_size=300))
def test_every_text_with_a_word_has_a_shingle_and_no_shingle_is_empty(text):
    found = shingles(text, 5, 10, 5)
    assert b"" not in found
    assert bool(found) == any(c.isalnum() or c == "_" for c in text) or not found
