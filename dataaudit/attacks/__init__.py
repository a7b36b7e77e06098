"""Attacks poison a sample: pure functions of the sample and a seed, for benchmarks, demonstrations and measuring power.

An attack is a frozen dataclass whose fields are its settings and whose `apply` returns a poisoned copy.
Which samples are taken and what labels they get (or keep: clean-label) is a matter of its own: see `planting` and `text.flip`,
and `captions` for pictures with captions.
"""
