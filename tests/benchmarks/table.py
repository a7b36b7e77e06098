"""All results as one Parquet file (a row a cell and method) and one Markdown document (a row a cell without its seed).

Figures are medians over seeds, ranges in brackets.  First the cells with a stated goal, in order, then those that are
reported as measured, the worst first, then what the baselines say, and at last what is missing and why.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dataaudit.store.records import atomic
from tests.benchmarks.suite import Cell, Figure, Suite

RANKING = ("auroc", "tpr_at_0.001", "tpr_at_0.01", "precision_at_n")
HEADINGS = (
    *("cell", "poisons (of all, of label)", "seeds", "AUROC", "TPR at FPR 0.1 %", "TPR at FPR 1 %", "precision at n"),
    *("found", "right trigger", "false campaigns", "clean flagged", "seconds", "best baseline"),
)
SAID: dict[Figure, str] = {"tpr_at_0.001": "TPR at FPR 0.1 %", "auroc": "AUROC", "within_3n": "within the first 3n"}
WIDE = 15
RANKS = 3
"""Of so few poisons the table shows each one's place."""


def path(cell: Cell, results: Path) -> Path:
    """Where a cell's result is kept."""
    return results / f"{cell.id}.json"


def read(cell: Cell, results: Path) -> dict[str, Any] | None:
    """A cell's result, or None where there is none."""
    kept = path(cell, results)
    return json.loads(kept.read_text()) if kept.exists() else None


@dataclass(frozen=True)
class Row:
    """The results of one cell with every seed that was asked for; `missing` says why others are not there, by cell id.

    `goal` is the least `figure` that was promised, None where the cell is reported as measured; `most_flagged` the largest share of
    clean samples that may be flagged where nothing was planted.
    """

    name: str
    cell: Cell
    results: tuple[Mapping[str, Any], ...]
    missing: Mapping[str, str]
    goal: float | None = None
    most_flagged: float = 0.0
    figure: Figure = "tpr_at_0.001"

    def values(self, *keys: str) -> list[float]:
        """One figure of ours from each seed, by keys from the outside in."""
        return present(dig(r, "ours", *keys) for r in self.results)

    @property
    def met(self) -> bool:
        """Whether the promise is kept, by the median; without poison: no campaign, and hardly anyone flagged, with any seed."""
        if not self.results or self.missing:
            return False
        if self.cell.attack == "none":
            return not any(self.values("campaigns")) and max(self.values("flagged_clean_share")) <= self.most_flagged
        ranked = self.values(self.figure)
        enough = bool(ranked) and statistics.median(ranked) >= (self.goal or 0.0)
        return enough and (self.cell.attack != "three" or all(e["found"] for r in self.results for e in r["ours"]["expected"]))


def rows(wanted: Sequence[Cell], results: Path, suite: Suite, stale: bool) -> list[Row]:
    """A row for every group of cells that differ by seed only."""
    grouped: dict[str, list[Cell]] = {}
    for cell in wanted:
        grouped.setdefault(cell.row, []).append(cell)
    return [_row(name, group, results, suite, stale) for name, group in grouped.items()]


def _row(name: str, group: Sequence[Cell], results: Path, suite: Suite, stale: bool) -> Row:
    here: list[Mapping[str, Any]] = []
    missing: dict[str, str] = {}
    for cell in group:
        known = read(cell, results)
        reason = why_not(known, suite.code(), stale)
        if reason is None and known is not None:
            here.append(known)
        else:
            missing[cell.id] = reason or "not run"
    return Row(name, group[0], tuple(here), missing, suite.goal(group[0]), suite.MOST_FLAGGED, suite.figure(group[0]))


def why_not(known: Mapping[str, Any] | None, code: str, stale: bool) -> str | None:
    """Why a result cannot be shown, or None."""
    if known is None or ("ours" not in known and "missing" not in known):
        return "not run"
    if "missing" in known:
        return str(known["missing"])
    return None if stale or known["code"] == code else "run with other code only"


def write(wanted: Sequence[Cell], results: Path, suite: Suite, stale: bool = False) -> str:
    """Write cells.parquet and cells.md beside the results; returns the Markdown."""
    found = rows(wanted, results, suite, stale)
    results.mkdir(parents=True, exist_ok=True)
    with atomic(results / "cells.parquet") as out:
        pq.write_table(flat(found), out)
    said = markdown(found)
    with atomic(results / "cells.md") as out:
        out.write(said.encode())
    return said


# ---- Parquet

SCHEMA = pa.schema(
    {
        **dict.fromkeys(("id", "dataset"), pa.string()),
        "limit": pa.int64(),
        "attack": pa.string(),
        "rate": pa.float64(),
        "seed": pa.int64(),
        "clean_label": pa.bool_(),
        "noise": pa.float64(),
        **dict.fromkeys(("method", "missing"), pa.string()),
        "poisons": pa.int64(),
        **dict.fromkeys(("share", "share_of_label", *RANKING, "within_3n"), pa.float64()),
        **dict.fromkeys(("expected", "found", "right_trigger", "campaigns", "false_campaigns", "flagged", "flagged_clean"), pa.int64()),
        **dict.fromkeys(("flagged_clean_share", "precision", "recall", "seconds"), pa.float64()),
        **dict.fromkeys(("code", "versions"), pa.string()),
    }
)


def flat(found: Iterable[Row]) -> pa.Table:
    """One row a cell and method; a missing cell has one row with the reason."""
    records: list[dict[str, Any]] = []
    for row in found:
        for result in row.results:
            common = _common(result)
            records.append(common | {"method": "ours"} | _ours(result["ours"]))
            rivalling = {name: said for name, said in (result.get("baselines") or {}).items() if "learnt" not in said}
            records += [common | {"method": name} | _baseline(said) for name, said in rivalling.items()]
        records += [{"id": name, "method": "ours", "missing": reason} for name, reason in row.missing.items()]
    return pa.Table.from_pylist([{name: record.get(name) for name in SCHEMA.names} for record in records], schema=SCHEMA)


def _common(result: Mapping[str, Any]) -> dict[str, Any]:
    named = {key: result[key] for key in ("id", "poisons", "share", "share_of_label", "code")}
    return named | dict(result["cell"]) | {"versions": json.dumps(result["versions"])}


def _ours(own: Mapping[str, Any]) -> dict[str, Any]:
    counted = {key: own[key] for key in SCHEMA.names if key in own and key not in ("expected", "seconds")}
    return counted | {
        "expected": len(own["expected"]),
        "found": sum(e["found"] for e in own["expected"]),
        "right_trigger": sum(e["right_trigger"] is True for e in own["expected"]),
        "seconds": own["seconds"]["ours"],
    }


def _baseline(said: Mapping[str, Any]) -> dict[str, Any]:
    return {key: said.get(key) for key in (*RANKING, "within_3n")} | {"missing": said.get("failed"), "seconds": said.get("seconds")}


# ---- Markdown


def markdown(found: Sequence[Row]) -> str:
    """The whole document."""
    shown = [row for row in found if row.results]
    promised = [row for row in shown if row.goal is not None]
    measured = sorted((row for row in shown if row.goal is None), key=worth)
    parts = []
    if promised:
        kept = sum(row.met for row in promised)
        parts.append(_section(f"Cells with a stated goal: {kept} of {len(promised)} met", promised, ("goal", _goal)))
    if measured:
        parts.append(_section("As measured, the worst first", measured))
    if compared := baselines(shown):
        parts.append(compared)
    if reasons := {name: reason for row in found for name, reason in row.missing.items()}:
        parts.append(f"### Missing: {len(reasons)} cells\n\n" + table(("cell", "why"), sorted(reasons.items())))
    return "\n\n".join(parts) + "\n" if parts else "There are no cells.\n"


def worth(row: Row) -> tuple[float, float]:
    """How good a row's median is; rows without poison come last."""
    ranked = row.values(row.figure)
    return (statistics.median(ranked) if ranked else 2.0, statistics.median(row.values("auroc") or [0.0]))


def _section(title: str, some: Sequence[Row], *more: tuple[str, Callable[[Row], str]]) -> str:
    if any(row.values("within_3n") for row in some):
        more = ((f"{SAID['within_3n']} (places)", _places), *more)
    headings = (*HEADINGS, *(name for name, _ in more))
    return f"### {title}\n\n" + table(headings, [[*_cells(row), *(show(row) for _, show in more)] for row in some])


def _goal(row: Row) -> str:
    kept = "met" if row.met else "not all seeds there" if row.missing else "MISSED"
    if row.cell.attack == "none":
        return f"no campaign, <= {100 * row.most_flagged:g} % flagged: {kept}"
    least = f"{'' if row.figure == 'tpr_at_0.001' else SAID[row.figure] + ' '}>= {row.goal:.2f}"
    return f"{'each named' if row.cell.attack == 'three' else least}: {kept}"


def _places(row: Row) -> str:
    """The share of the poisons near the top, and the places of a few."""
    places = [dig(r, "ours", "ranks") or [] for r in row.results]
    told = [", ".join(str(place) for place in some) for some in places if 0 < len(some) <= RANKS]
    return spread(row.values("within_3n")) + (f" ({'; '.join(told)})" if told else "")


def _cells(row: Row) -> list[str]:
    own = row.values
    expected = [e for r in row.results for e in r["ours"]["expected"]]
    flagged = f"{spread(own('flagged_clean'), '{:.0f}')} ({100 * max(own('flagged_clean_share'), default=0):.3f} % at most)"
    named = [e for e in expected if e["right_trigger"] is not None]
    return [
        row.name,
        _poisons(row),
        ", ".join(str(r["cell"]["seed"]) for r in row.results),
        *(spread(own(key)) for key in RANKING),
        f"{sum(e['found'] for e in expected)} of {len(expected)}" if expected else "",
        f"{sum(e['right_trigger'] for e in named)} of {len(named)} named" if named else "",
        f"{sum(own('false_campaigns')):.0f}",
        flagged,
        spread(own("seconds", "ours"), "{:.0f}"),
        _best(row),
    ]


def _poisons(row: Row) -> str:
    count = statistics.median(r["poisons"] for r in row.results)
    if not count:
        return "none; ranked: label noise" if row.cell.noise else "none"
    share = statistics.median(r["share"] for r in row.results)
    of_label = present(r["share_of_label"] for r in row.results)
    labelled = f", {100 * statistics.median(of_label):.2g} %" if of_label else ""
    return f"{count:.0f} ({100 * share:.2g} %{labelled})"


def _best(row: Row) -> str:
    figures = {name: statistics.median(values) for name, values in rivals(row).items()}
    return f"{max(figures.values()):.3f} ({max(figures, key=lambda n: figures[n])})" if figures else ""


def rivals(row: Row) -> dict[str, list[float]]:
    """Every baseline's figure, the one that the row is judged by, from each seed that has one."""
    named = dict.fromkeys(name for r in row.results for name in r.get("baselines") or {})
    found = {name: present(dig(r, "baselines", name, row.figure) for r in row.results) for name in named}
    return {name: values for name, values in found.items() if values}


def baselines(shown: Sequence[Row]) -> str:
    """What every baseline says beside ours, by the figure that the rows are judged by, where any was run."""
    compared = [(row, rivals(row)) for row in shown if rivals(row)]
    parts = []
    for figure in dict.fromkeys(row.figure for row, _ in compared):
        alike = [(row, said) for row, said in compared if row.figure == figure]
        names = list(dict.fromkeys(name for _, said in alike for name in said))
        lines = [[row.name, spread(row.values(figure)), *(spread(said.get(name, [])) for name in names)] for row, said in alike]
        grid = [["cell", "ours", *names], *lines]
        # Many baselines are lines, so that the page does not become wider than anyone reads.
        headings, *lines = map(list, zip(*grid, strict=True)) if len(names) > WIDE else grid
        parts.append(f"### Baselines: {SAID[figure]}\n\n" + table(headings, lines))
    said = [item for row in shown for r in row.results for item in (r.get("baselines") or {}).items()]
    if failed := sorted({(name, figures["failed"]) for name, figures in said if "failed" in figures}):
        parts.append("Baselines that could not be run:\n\n" + table(("baseline", "why"), failed))
    trained = [(row, dig(r, "baselines", "victim")) for row in shown for r in row.results if dig(r, "baselines", "victim", "accuracy")]
    if told := [(row.name, f"{said['accuracy']:.3f}", f"{said['learnt']:.3f}") for row, said in trained]:
        parts.append("Victims: `learnt` is the share of the poisons to which it gives the attacker's label.")
        parts.append(table(("cell", "accuracy in training", "learnt"), told))
    return "\n\n".join(parts)


def spread(values: Sequence[float], form: str = "{:.3f}") -> str:
    """Median and range; the value where there is one."""
    if not values:
        return ""
    middle = form.format(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({form.format(min(values))}-{form.format(max(values))})"


def table(headings: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    drawn = [headings, ["---"] * len(headings), *lines]
    return "\n".join("| " + " | ".join(str(value).replace("|", "/").replace("\n", " ") for value in line) + " |" for line in drawn)


def present(values: Iterable[Any]) -> list[float]:
    """Those that are numbers, and not NaN."""
    return [float(v) for v in values if v is not None and v == v]


def dig(value: Any, *keys: str) -> Any:
    """What lies under the keys, or None."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
