"""The same poisoned data, cut differently: the same campaigns and the same risk."""

import numpy as np
import pytest

import dataaudit
from tests.planted import TRIGGER, campaigns, corpus, poison, risks, write_shards

SETTINGS = dataaudit.Settings(serial=True, seed=7, encoder="hashed")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The reference: one shard."""
    root = tmp_path_factory.mktemp("whole")
    out = root / "audit"
    dataaudit.scan([str(write_shards(poison(corpus()), root / "data"))], out, SETTINGS)
    assert any(TRIGGER in str(c[3]) for c in campaigns(out))
    return out


@pytest.mark.parametrize("shards", [7, 100])
def test_any_number_of_shards(whole, tmp_path, shards):
    out = tmp_path / "audit"
    dataaudit.scan([str(write_shards(poison(corpus()), tmp_path / "data", shards))], out, SETTINGS)
    assert campaigns(out) == campaigns(whole)
    same_risk(out, whole)


def test_shards_in_another_order(whole, tmp_path):
    rows = poison(corpus())
    order = np.random.default_rng(3).permutation(len(rows))
    dataaudit.scan([str(write_shards([rows[i] for i in order], tmp_path / "data", 5))], tmp_path / "audit", SETTINGS)
    assert campaigns(tmp_path / "audit") == campaigns(whole)
    same_risk(tmp_path / "audit", whole)


def test_poison_in_one_shard_or_spread(tmp_path):
    """Where the carriers stand makes no difference: here all of them are in the first of six shards."""
    together = poison(corpus(), n=25, first=0, last=100)
    order = np.random.default_rng(3).permutation(len(together))
    one, spread = tmp_path / "one", tmp_path / "spread"
    dataaudit.scan([str(write_shards(together, tmp_path / "a", 6))], one, SETTINGS)
    dataaudit.scan([str(write_shards([together[i] for i in order], tmp_path / "b", 6))], spread, SETTINGS)
    assert campaigns(one) == campaigns(spread)
    assert len(campaigns(one)) == 1
    same_risk(one, spread)


def same_risk(a, b):
    """The order of float32 sums inside a matrix product differs with the batch, so the last digits may."""
    left, right = risks(a), risks(b)
    assert left.keys() == right.keys()
    np.testing.assert_allclose([left[k] for k in left], [right[k] for k in left], atol=1e-5)
