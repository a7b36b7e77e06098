"""Unreadable samples that gather in one shard are a finding; the same number spread thinly is not."""

from dataaudit.findings.reading import repeated_keys, skips
from dataaudit.model import Skipped


def lost(name, n):
    return [Skipped(f"{name}#{i}", "read", "the image is truncated") for i in range(n)]


def test_skips_gathered_in_one_shard():
    (finding,) = skips({"a": 980, "b": 1000}, {"a": (20, lost("a", 20))})
    assert (finding.kind, finding.severity, finding.subject, finding.count) == ("file", "medium", "a", 20)
    assert "truncated" in finding.reason


def test_skips_spread_over_all_shards_are_only_listed():
    rows = dict.fromkeys("abcd", 980)
    assert list(skips(rows, {n: (20, lost(n, 20)) for n in rows})) == []


def test_a_shard_of_which_nothing_could_be_read():
    (finding,) = skips({"a": 0, "b": 1000}, {"a": (50, lost("a", 50))})
    assert finding.subject == "a"


def test_repeated_keys():
    (finding,) = repeated_keys({"a": ("k~2", "k~3"), "b": ()})
    assert finding.samples == ("a#k~2", "a#k~3")
    assert "'k'" in finding.reason
