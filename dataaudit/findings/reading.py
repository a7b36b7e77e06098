"""Findings about the reading itself: being undecodable for us is a way round us, and a repeated key hides a sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from dataaudit.model import Finding, Skipped, fingerprint, sample_id

FEWEST = 5
SHARE = 0.01


def skips(rows: Mapping[str, int], unread: Mapping[str, tuple[int, Sequence[Skipped]]]) -> Iterator[Finding]:
    """One finding a shard whose share of unreadable samples stands far above the others'.

    By shard name: `rows` that were read, and of those that were not how many and some examples.
    """
    lost = {name: count for name, (count, _) in unread.items()}
    skipped = {name: examples for name, (_, examples) in unread.items()}
    total, gone = sum(rows.values()), sum(lost.values())
    for name in sorted(lost, key=lambda n: (-lost[n], n)):
        share = lost[name] / (rows.get(name, 0) + lost[name])
        elsewhere = (gone - lost[name]) / max(1, total + gone - lost[name] - rows.get(name, 0))
        if lost[name] >= FEWEST and share > SHARE and share > 10 * elsewhere:
            reason = (
                f"{lost[name]} samples of {name} ({share:.1%}) could not be read, against {elsewhere:.2%} elsewhere; "
                f"first: {skipped[name][0].reason}"
            )
            yield Finding(
                id=fingerprint("skips", name),
                kind="file",
                detector="reading",
                severity="medium",
                subject=name,
                target="",
                count=lost[name],
                samples=(),
                risk=min(0.49, share),
                p_value=1.0,
                reason=reason,
                evidence={"share": share, "elsewhere": elsewhere, "examples": [f"{s.subject}: {s.reason}" for s in skipped[name][:5]]},
            )


def repeated_keys(repeated: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    """One finding a shard in which keys occur more than once; the later ones carry `~2`, `~3` and so on."""
    for name, keys in sorted(repeated.items()):
        if keys:
            yield Finding(
                id=fingerprint("repeated key", name),
                kind="file",
                detector="reading",
                severity="low",
                subject=name,
                target="",
                count=len(keys),
                samples=tuple(sample_id(name, k) for k in keys),
                risk=0.1,
                p_value=1.0,
                reason=f"{name} uses {len(keys)} keys more than once, such as {keys[0].rpartition('~')[0]!r}: "
                "a loader that keeps one of them hides the rest",
            )
