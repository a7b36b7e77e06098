"""What the runs of a row come to: medians with ranges, and how many times cheaper ours is than the best peer that is as good."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from tests.benchmarks.scale.rows import Contender, Row

if TYPE_CHECKING:
    from tests.benchmarks.scale.running import Run

HEADINGS = ("by", "setting", "runs", "CPU s", "x ours", "{} per CPU s", "wall s", "memory, GB", "accuracy", "more")


@dataclass(frozen=True)
class Summary:
    """All runs of one contender with one setting."""

    contender: Contender
    setting: str
    runs: tuple[Run, ...]

    @property
    def cpu(self) -> float:
        """The median of processor seconds."""
        return median(run.cpu for run in self.runs)

    @property
    def accuracy(self) -> float:
        """The median, as settings without a seed differ from run to run."""
        return median(run.accuracy for run in self.runs)

    def spread(self, name: str, digits: int, unit: float = 1) -> str:
        """The median with its range."""
        values = [getattr(run, name) / unit for run in self.runs]
        middle = f"{median(values):,.{digits}f}"
        return middle if len(values) == 1 else f"{middle} ({min(values):,.{digits}f}-{max(values):,.{digits}f})"


@dataclass(frozen=True)
class Ratio:
    """Ours beside the best peer: their median costs, `low` and `high` within one round; None where no peer is as good."""

    ours: Summary
    peer: Summary | None
    middle: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")


def summaries(row: Row, runs: Iterable[Run]) -> list[Summary]:
    """In the order in which contenders and settings were run."""
    known = {contender.name: contender for contender in row.contenders}
    grouped: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        if not run.failed:
            grouped.setdefault((run.contender, run.setting), []).append(run)
    return [Summary(known[name], setting, tuple(some)) for (name, setting), some in grouped.items()]


def needed(row: Row, runs: Iterable[Run]) -> float:
    """The accuracy that a peer needs to count."""
    if row.least is not None:
        return row.least
    own = [s.accuracy for s in summaries(row, runs) if s.contender.ours and not s.contender.beside]
    return max(own, default=math.inf) - row.tolerance


def kept(row: Row, contender: Contender, runs: Sequence[Run]) -> tuple[str, ...]:
    """Of a contender's settings the cheapest that is good enough; where none is, the most accurate."""
    there = [s for s in summaries(row, runs) if s.contender.name == contender.name and contender.settings]
    good = [s for s in there if s.accuracy >= needed(row, runs)]
    if good:
        return (min(good, key=lambda s: s.cpu).setting,)
    return (max(there, key=lambda s: s.accuracy).setting,) if there else ()


def ratio(row: Row, runs: Sequence[Run], only: str | tuple[str, ...] = "") -> Ratio | None:
    """The best peer is the cheapest of those that are good enough, among the settings that were run in every round; or of `only` these."""
    rounds = 1 + max((run.repeat for run in runs), default=0)
    there = [s for s in summaries(row, runs) if not s.contender.beside and len(s.runs) == rounds]
    own = [s for s in there if s.contender.ours]
    good = [s for s in there if not s.contender.ours and s.contender.name.startswith(only) and s.accuracy >= needed(row, runs)]
    if not own:
        return None
    ours = min(own, key=lambda s: s.cpu)
    if not good:
        return Ratio(ours, None)
    best = min(good, key=lambda s: s.cpu)
    each = [theirs.cpu / mine.cpu for mine, theirs in zip(ours.runs, best.runs, strict=True)]
    return Ratio(ours, best, best.cpu / ours.cpu, min(each), max(each))


def verdict(row: Row, runs: Sequence[Run]) -> str:
    """The ratio in words."""
    found = ratio(row, runs)
    if found is None or all(contender.ours for contender in row.contenders):
        return ""
    if row.least is not None and found.ours.accuracy < row.least:
        return f"**ours has {found.ours.accuracy:.4f}, below the {row.least:g} that is asked for: no ratio**"
    if found.peer is None:
        return "no peer is as good: no ratio"
    setting = f" ({found.peer.setting})" if found.peer.setting else ""
    said = f"**{found.middle:.2f} times** ({found.low:.2f}-{found.high:.2f}) {found.peer.contender.name}{setting}"
    return f"{said}; {promise(row, runs)}" if row.goal is not None else said


def promise(row: Row, runs: Sequence[Run]) -> str:
    """The goal, and whether it is met."""
    found = ratio(row, runs, row.goal_beside or "")
    reached = found.middle if found and found.peer else 0.0
    beside = f" beside {' and '.join(row.goal_beside)}" if row.goal_beside else ""
    return f"goal {row.goal:g}{beside}: " + ("met" if reached >= (row.goal or 0) else f"MISSED with {reached:.2f}")


def told(row: Row, size: int, runs: Sequence[Run]) -> str:
    """One row as Markdown."""
    lines = [f"### {row.name}" + (f": {size:,} {row.unit}" if size else ""), "", row.about + ".", "", verdict(row, runs), ""]
    headings = [heading.format(row.unit or "times") for heading in HEADINGS]
    lines += [f"| {' | '.join(headings)} |", "|" + "---|" * len(headings)]
    found = ratio(row, runs)
    for s in summaries(row, runs):
        times = f"{s.cpu / found.ours.cpu:.2f}" if found and not s.contender.ours else ""
        more = ", ".join(f"{name} {median(run.more[name] for run in s.runs):.4g}" for name in s.runs[0].more)
        name = f"{s.contender.name} (no part in the ratio)" if s.contender.beside else s.contender.name
        cells = [name, s.setting, str(len(s.runs)), s.spread("cpu", 2), times, f"{size / s.cpu:,.0f}" if size and s.cpu else ""]
        cells += [s.spread("wall", 2), s.spread("memory", 2, 1e9), s.spread("accuracy", 4), more]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [f"\n{run.contender} {run.setting} failed: {run.failed}" for run in runs if run.failed]
    return "\n".join(lines) + "\n"


def overview(given: Sequence[tuple[Row, Sequence[Run]]]) -> str:
    """One line a row."""
    lines = ["| row | ours, CPU s | best peer | CPU s | memory, GB | accuracy | ratio |", "|" + "---|" * 7]
    for row, runs in given:
        found = ratio(row, runs)
        if found is None or found.peer is None:
            continue
        pair = (found.ours, found.peer)
        memory, accuracy = (" / ".join(s.spread(name, digits, unit) for s in pair) for name, digits, unit in SHOWN)
        by = f"{found.peer.contender.name} {found.peer.setting}".strip()
        said = f"{found.middle:.2f} ({found.low:.2f}-{found.high:.2f})"
        lines.append(
            f"| {row.name} | {found.ours.spread('cpu', 2)} | {by} | {found.peer.spread('cpu', 2)} | {memory} | {accuracy} | {said} |"
        )
    return "\n".join(lines) + "\n"


SHOWN = (("memory", 2, 1e9), ("accuracy", 4, 1.0))
