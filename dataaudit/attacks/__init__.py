"""Attacks poison a sample: pure functions of the sample and a seed, for benchmarks, demonstrations and measuring power.

An attack is a frozen dataclass whose fields are its settings and whose `apply` returns a poisoned copy.
Flipping the label (or not: clean-label) is the caller's affair, see `text.flip`.
"""
