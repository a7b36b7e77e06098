"""The audit in one sentence.  It never says "clean": it says what was looked at and what was not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dataaudit.model import SEVERITIES, Finding, Severity

NAMED = 3
"""Detectors that the sentence names where more did not run; the coverage has all of them with the reason."""
VerdictKind = Literal["poisoned", "unsafe_files", "incomplete", "nothing_found"]


@dataclass(frozen=True)
class Coverage:
    """What was looked at: samples and shards read, samples and shards not, detectors that ran, that did not, and that saw only a part.

    `unreached` of the skipped shards were not begun within the time budget.
    """

    samples: int
    shards: int
    skipped_samples: int
    skipped_shards: int
    detectors: tuple[str, ...]
    idle: tuple[str, ...]
    partly: tuple[str, ...] = ()
    unreached: int = 0


@dataclass(frozen=True)
class Verdict:
    """`kind` for machines, `sentence` for people."""

    kind: VerdictKind
    sentence: str


def judge(findings: Sequence[Finding], coverage: Coverage, max_skipped: float) -> Verdict:
    """The worst that is true, in the order poisoned, unsafe files, incomplete, nothing found."""
    campaigns = [f for f in findings if f.kind == "campaign"]
    unsafe = [f for f in findings if f.kind in ("file", "advisory") and at_least(f.severity, "high")]
    looked = _looked(coverage)
    missing = coverage.skipped_samples / max(1, coverage.samples + coverage.skipped_samples)
    if campaigns:
        carriers = sum(f.count for f in campaigns)
        what = "1 campaign" if len(campaigns) == 1 else f"{len(campaigns)} campaigns"
        return Verdict("poisoned", f"Evidence of poisoning: {what} with {carriers:,} carriers. {looked}")
    if unsafe:
        return Verdict("unsafe_files", f"{len(unsafe)} unsafe files, such as {unsafe[0].subject}. {looked}")
    if coverage.skipped_shards or missing > max_skipped or not coverage.samples or not coverage.detectors:
        why = "not every shard was reached" if coverage.unreached else "too much could not be read to say anything"
        return Verdict("incomplete", f"The audit is incomplete: {why}. {looked}")
    return Verdict("nothing_found", f"Nothing was found. {looked}")


def _looked(c: Coverage) -> str:
    shards = c.shards - c.unreached
    sentence = f"{c.samples:,} samples in {shards:,} {'shard' if shards == 1 else 'shards'} were audited by {len(c.detectors)} detectors"
    unread = c.skipped_shards - c.unreached
    if c.skipped_samples or unread:
        sentence += f"; {c.skipped_samples:,} samples and {unread:,} whole shards could not be read"
    if c.unreached:
        sentence += f"; {c.unreached:,} shards were not reached within the time budget"
    if c.idle:
        named = ", ".join(c.idle) if len(c.idle) <= NAMED else f"{', '.join(c.idle[:NAMED])} and {len(c.idle) - NAMED} more"
        sentence += f"; not run on such data: {named}"
    if c.partly:
        sentence += f"; in part only: {', '.join(c.partly)}"
    return sentence + ". What share of an attack this audit would have found was not measured."


def at_least(severity: Severity, threshold: Severity) -> bool:
    """Whether a severity is at or above another."""
    return SEVERITIES.index(severity) >= SEVERITIES.index(threshold)
