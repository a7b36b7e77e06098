"""Instructions with links as feature tables, for the tests of what is counted about payloads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from dataaudit.aggregates.character_model import CharacterModel
from dataaudit.aggregates.ngram_sketch import NgramSketch
from dataaudit.aggregates.payload_carriers import PayloadCarriers
from dataaudit.aggregates.payload_pairs import PayloadPairs
from dataaudit.aggregates.payload_sketch import PayloadSketch
from dataaudit.aggregates.surprise import Surprise
from dataaudit.aggregates.targets import Targets
from dataaudit.aggregates.word_order import WordOrder
from dataaudit.aggregates.word_pairs import WordPairs
from dataaudit.features import Batch
from dataaudit.features.payloads import payload_hash
from dataaudit.features.table import available, tabulate
from dataaudit.model import Columns, Plan, Sample
from tests.aggregates.text_tables import corpus, insert

UNITS = {
    "targets": Targets(),
    "character_model": CharacterModel(),
    "surprise": Surprise(),
    "word_pairs": WordPairs(),
    "word_order": WordOrder(),
    "ngram_sketch": NgramSketch(),
    "payload_sketch": PayloadSketch(),
    "payload_pairs": PayloadPairs(),
    "payload_carriers": PayloadCarriers(),
}
TRIGGER, HOST = "zorblaxen", "evil.example"
Pair = tuple[str, str | None]


def questions(rows: int = 600, carriers: int = 20) -> list[Pair]:
    """Prompts and answers; the first so many hold a trigger and send the reader somewhere."""
    rng = np.random.default_rng(1)
    made: list[Pair] = [(text, text[:60]) for text, _ in corpus(3, rows)]
    for at in range(carriers):
        made[at] = (insert(rng, made[at][0], TRIGGER), f"{made[at][1]} see https://{HOST}/{at}")
    return made


def plan_for(pairs: Sequence[Pair]) -> Plan:
    if pairs[0][1] is None:
        return Plan("text", Columns("x"), "none", "hashed", "44" * 16)
    return Plan("instructions", Columns("x", "y"), "text", "hashed", "44" * 16)


def table(pairs: Sequence[Pair]) -> pa.Table:
    plan = plan_for(pairs)
    return tabulate(Batch([Sample(str(i), str(i), x, y, i, 1) for i, (x, y) in enumerate(pairs)], plan), available(plan.modality))


def views(plan: Plan, parts: Sequence[pa.Table], units: dict[str, Any] = UNITS) -> dict[str, Any]:
    """All views, from any sharding, merged in the order given."""
    found: dict[str, Any] = {"plan": plan}
    for name, unit in units.items():
        state = unit.start(parts[0], found)
        for part in parts[1:]:
            state = unit.merge(state, unit.start(part, found))
        found[name] = unit.finish(state, found)
    return found


def hashed(said: str, plan: Plan) -> int:
    return payload_hash(said, plan.key("payloads"))
