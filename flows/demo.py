"""Audits all of sample_data, and its unpoisoned twins, with the Prefect flow; scores what was found against the manifest.

    python -m flows.demo [--out demo] [--sets images captions mails chat] [--seed 0]

Exits with 1 where a planted campaign was missed, too many honest samples were flagged, or a twin was accused.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")

from rich.console import Console

from dataaudit.cli import bars
from dataaudit.cli import console as terminal
from dataaudit.engine.distributed import local
from dataaudit.model import Settings
from dataaudit.reports.terminal import campaign_table
from dataaudit.store.directory import AuditDirectory
from flows import demo_score
from flows.audit import run
from flows.demo_twin import ORIGINALS, twin
from flows.server import embedded_server

SAMPLE_DATA = Path(__file__).resolve().parent.parent / "sample_data"


def main() -> int:
    """Run the demonstration; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.demo", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("demo"), help="where the audit directories go (default: demo)")
    parser.add_argument("--sets", nargs="+", choices=list(ORIGINALS), default=list(ORIGINALS), help="which of the sample data sets")
    parser.add_argument("--seed", type=int, default=0, help="fixes folds and samples, so that every run says the same (default: 0)")
    chosen = parser.parse_args()
    logging.getLogger("distributed").setLevel(logging.ERROR)
    console = terminal()
    began = time.monotonic()
    with local() as engine, embedded_server(chosen.out / "prefect"):
        settings = Settings(scheduler=engine.address, seed=chosen.seed)
        audits = {name: audit(console, name, SAMPLE_DATA / name, chosen.out / name, settings) for name in chosen.sets}
        twins = {name: audit_twin(console, name, chosen.out, settings) for name in chosen.sets}
    scores = demo_score.score(SAMPLE_DATA / "manifest.toml", audits, twins)
    faults = demo_score.faults(scores)
    for name, path in audits.items():
        show(console, name, path)
    console.print(demo_score.table(scores))
    for path in audits.values():
        console.print(f"report: {path / 'report.html'}", soft_wrap=True)
    console.print(f"{time.monotonic() - began:.0f} s")
    for fault in faults:
        console.print(f"not good enough: {fault}", style="red")
    return 1 if faults else 0


def audit(console: Console, name: str, source: Path, out: Path, settings: Settings) -> Path:
    """Audit one set with the flow, showing its progress."""
    console.print(name, style="bold")
    with bars() as watch:
        run([str(source)], out, settings, watch)
    return out


def audit_twin(console: Console, name: str, out: Path, settings: Settings) -> Path:
    """Write the unpoisoned twin of one set and audit it too: it should raise nothing."""
    data = out / "twins" / name
    twin(SAMPLE_DATA / name, SAMPLE_DATA / "originals" / ORIGINALS[name], data)
    return audit(console, f"{name}, unpoisoned", data, out / f"{name}-twin", settings)


def show(console: Console, name: str, path: Path) -> None:
    """The campaigns of one set, a line each."""
    campaigns = [f for f in AuditDirectory(path).each_finding() if f.kind == "campaign"]
    console.print(name, style="bold")
    console.print(campaign_table(campaigns))


if __name__ == "__main__":
    sys.exit(main())
