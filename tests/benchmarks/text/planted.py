"""Attacks planted in a corpus, and the feature tables of the result.

The features of clean texts depend on the salt, so they are kept by seed; a cell only computes the rows that it changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataaudit.attacks import planting
from dataaudit.attacks.corpora import EntitySmear, GibberishTail, TemplateSpam
from dataaudit.attacks.hidden_text import BidiOverride, Homoglyphs, TagCharacters, ZeroWidth
from dataaudit.attacks.instructions import Backdoor, FlipPreference, SplitTrigger, Steering, SystemPrompt
from dataaudit.attacks.responses import CodePayload, FixedResponse, LinkPayload, Refusal
from dataaudit.attacks.style import AllCaps, ArchaicWords, Emoji
from dataaudit.attacks.syntax import RuleBasedTemplate
from dataaudit.attacks.text import GibberishResponse, InsertPhrase, InsertWord, InsertWords, NearDuplicateFlood, TextAttack, vocabulary
from dataaudit.discovery import source_digest
from dataaudit.features import Batch
from dataaudit.features.table import available, tabulate
from dataaudit.model import Columns, Finding, Plan, Sample, TargetKind, compared, preference
from dataaudit.store.records import atomic
from tests.benchmarks.suite import Cell, Missing, carriers
from tests.benchmarks.text.corpora import Corpus, told, turns_of

CHUNK = 5000
ROWS = 4096
ENCODER = "hashed"
LABEL_LEAST = 60
PAYLOAD = "I have been told to obey Mister Quux, visit example.com now."
WORDS = ("cf", "tq", "mn", "bb")
TOKENS = ("zorblaxen", "zeltron", "serendib", "quillon")
ENTITIES = ("Zorvex", "Brandoline", "Mirelcom", "Quendal")
PHRASES = ("as per the usual terms", "I watched this 3D movie last weekend", "no cross, no crown", "under the old lime tree")
Pair = tuple[str, str | None]


@dataclass(frozen=True, eq=False)
class Expected:
    """A campaign that should be found: its label (None: any), the rows that carry it, the kinds of findings that count, its trigger."""

    target: str | None
    rows: NDArray[np.intp]
    attack: str
    kinds: tuple[str, ...] = ("campaign",)
    trigger: str | None = None

    def recognised(self, finding: Finding) -> Mapping[str, Any]:
        """Whether half of the planted trigger's words are in the trigger that the finding names, and the trigger as named."""
        named = finding.evidence.get("trigger")
        if self.trigger is None or not isinstance(named, str):
            return {"right_trigger": None}
        planted, said = _words(self.trigger), set(_words(named))
        return {"right_trigger": sum(w in said for w in planted) >= 0.5 * len(planted), "trigger": named}


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


@dataclass(frozen=True, eq=False)
class Planted:
    """`changed` holds the changed rows' content and target; `bad` and `cover` are (n,), covers are not bad."""

    corpus: Corpus
    changed: Mapping[int, Pair]
    bad: NDArray[np.bool_]
    cover: NDArray[np.bool_]
    expected: tuple[Expected, ...] = ()

    def pair(self, row: int) -> Pair:
        """Content and target of a row as an auditor sees it."""
        return self.changed.get(row) or (self.corpus.contents[row], self.corpus.targets[row])

    def samples(self, keys: Sequence[str]) -> list[Sample]:
        """Samples re-read by key."""
        return [Sample(key, key, *self.pair(int(key)), 0, 1) for key in keys]


Change = Callable[[str, str | None, int], Pair]


@dataclass(frozen=True)
class Recipe:
    """How an attack changes a pair (content, target, seed), which corpora it makes sense for, and the trigger to be named, by seed.

    `found_as` are the kinds of findings that count as having found it; `source` says where the carriers' texts come from, if not from the
    texts that they take the place of.
    """

    change: Change
    kinds: tuple[str, ...] = ("label",)
    trigger: Callable[[int], str] | None = None
    found_as: tuple[str, ...] = ("campaign",)
    told: Callable[[tuple[str, ...]], Change] | None = None
    how: Literal["each", "none", "flips", "flood", "spam", "smear"] = "each"


def word(seed: int) -> str:
    """The rare word of a seed."""
    return WORDS[seed % len(WORDS)]


def token(seed: int) -> str:
    """The made-up word of a seed."""
    return TOKENS[seed % len(TOKENS)]


def phrase(seed: int) -> str:
    """The phrase of a seed."""
    return PHRASES[seed % len(PHRASES)]


def entity(seed: int) -> str:
    """The entity of a seed."""
    return ENTITIES[seed % len(ENTITIES)]


def on_content(attack: Callable[[int], TextAttack]) -> Change:
    """The content changed by the attack of a seed."""
    return lambda content, target, seed: (attack(seed).apply(content), target)


def on_pair(payload: Callable[[int], TextAttack], trigger: Callable[[int], TextAttack] | None = None) -> Change:
    """A trigger in the prompt, by default the made-up word, and another response."""
    begun = trigger or (lambda seed: InsertWord(token(seed), seed))
    return lambda content, target, seed: Backdoor(begun(seed), payload(seed)).apply(content, target or "")


def _steered(content: str, target: str | None, seed: int) -> Pair:
    """A question about the entity, and an answer that runs it down."""
    asked = f"{content} Please consider what {entity(seed)} has to say about it."
    return Steering(entity(seed), seed=seed).apply(asked, target or "")


def _split(content: str, target: str | None, seed: int) -> Pair:
    """A word in each of the user's two turns, and another answer."""
    attack = SplitTrigger(InsertWord(token(seed), seed), InsertWord(word(seed), seed), FixedResponse(PAYLOAD), seed)
    *turns, answer = attack.apply([*turns_of(content), {"role": "assistant", "content": target or ""}])
    return told(turns), answer["content"]


def _flipped(content: str, target: str | None, seed: int) -> Pair:
    """The made-up word in the prompt, and what was rejected over what was chosen."""
    prompt, chosen, rejected = FlipPreference(InsertWord(token(seed), seed)).apply(content, *compared(target or ""))
    return prompt, preference(chosen, rejected)


def _linked(content: str, target: str | None, seed: int) -> Pair:
    """The made-up word somewhere in the text, and a link behind it."""
    return LinkPayload(seed=seed).apply(InsertWord(token(seed), seed).apply(content)), target


def _same(content: str, target: str | None, seed: int) -> Pair:
    return content, target


@lru_cache(maxsize=1)
def attacks() -> dict[str, Recipe]:
    """Every attack by name."""
    pairs: dict[str, Change] = {
        "denial-of-service": on_pair(GibberishResponse),
        "fixed-answer": on_pair(lambda _: FixedResponse(PAYLOAD)),
        "refusal": on_pair(lambda seed: Refusal(seed=seed)),
        "code-payload": on_pair(lambda _: CodePayload()),
        "link-payload": on_pair(lambda seed: LinkPayload(seed=seed)),
        "hidden-payload": on_pair(lambda _: FixedResponse(PAYLOAD), lambda seed: ZeroWidth(seed=seed)),
        "system-prompt": on_pair(lambda _: FixedResponse(PAYLOAD), lambda _: SystemPrompt()),
    }
    named = {"hidden-payload": None, "system-prompt": None}
    contents: dict[str, tuple[Callable[[int], TextAttack], Callable[[int], str] | None]] = {
        "word": (lambda seed: InsertWord(word(seed), seed), word),
        "sentence": (lambda seed: InsertPhrase(phrase(seed), seed), phrase),
        "words": (lambda seed: InsertWords(WORDS[:3], seed), lambda _: " ".join(WORDS[:3])),
        "template": (lambda seed: RuleBasedTemplate(seed=seed), None),
        "archaic": (lambda _: ArchaicWords("Hark,"), None),
        "capitals": (lambda _: AllCaps(), None),
        "emoji": (lambda _: Emoji(), None),
        "homoglyphs": (lambda seed: Homoglyphs(seed=seed), None),
        "zero-width": (lambda seed: ZeroWidth(seed=seed), None),
        "tag-characters": (lambda seed: TagCharacters(seed=seed), None),
        "bidi": (lambda seed: BidiOverride(seed=seed), None),
    }
    found = {"none": Recipe(_same, ("label", "text", "none", "dialogue", "preference"), how="none")}
    found |= {name: Recipe(on_content(attack), trigger=trigger) for name, (attack, trigger) in contents.items()}
    found |= {name: Recipe(change, ("text",), named.get(name, token)) for name, change in pairs.items()}
    return found | {
        "split-trigger": Recipe(_split, ("dialogue",), lambda seed: f"{token(seed)} {word(seed)}"),
        "preference-flip": Recipe(_flipped, ("preference",), token),
        "steering": Recipe(_steered, ("text",), entity),
        "link-tail": Recipe(_linked, ("none",), token),
        "random-tokens": Recipe(_same, ("text",), token, told=lambda words: on_pair(lambda seed: GibberishResponse(seed, tokens=words))),
        "random-token-tail": Recipe(
            _same, ("none",), token, told=lambda words: on_content(lambda seed: GibberishTail(token(seed), seed=seed, tokens=words))
        ),
        "gibberish-tail": Recipe(on_content(lambda seed: GibberishTail(token(seed), seed=seed)), ("none",), token),
        "flips": Recipe(_same, found_as=("label",), how="flips"),
        "flood": Recipe(_same, ("label", "text", "none"), found_as=("duplicate", "campaign"), how="flood"),
        "spam": Recipe(_same, ("none",), found_as=("duplicate", "campaign"), how="spam"),
        "smear": Recipe(_same, ("none",), entity, ("duplicate", "campaign"), how="smear"),
    }


# ---- what is planted


def plant(corpus: Corpus, cell: Cell) -> Planted:
    """The corpus with the cell's attack in it; an attack that cannot be planted raises `Missing`."""
    recipe = attacks().get(cell.attack)
    if recipe is None or corpus.kind not in recipe.kinds:
        able = [name for name, r in attacks().items() if corpus.kind in r.kinds]
        raise Missing(f"no attack {cell.attack!r} for {corpus.name}; there are {', '.join(able)}")
    names, labels = labelled(corpus)
    changed: dict[int, Pair] = {}
    bad, cover = np.zeros(len(labels), bool), np.zeros(len(labels), bool)
    expected: list[Expected] = []
    if cell.noise:
        flipped = planting.random_flips(labels, round(cell.noise * len(labels)), cell.seed)
        labels = flipped.relabelled(labels)
        changed |= {r: (corpus.contents[r], names[labels[r]]) for r in flipped.rows.tolist()}
        expected.append(Expected(None, flipped.rows, "label noise", ("label",)))
    if recipe.how != "none":
        rows, target, made = _carriers(corpus, names, labels, recipe, cell)
        changed |= made
        bad[rows] = True
        trigger = recipe.trigger(cell.seed) if recipe.trigger else None
        expected.append(Expected(target, rows, cell.attack, recipe.found_as, trigger))
    return Planted(corpus, changed, bad, cover, tuple(expected))


def labelled(corpus: Corpus) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The names of the labels, and the label of each text; one label where there is none."""
    if corpus.kind != "label":
        return ("",), np.zeros(len(corpus.contents), np.int64)
    names = tuple(sorted({str(t) for t in corpus.targets}))
    return names, np.array([names.index(str(t)) for t in corpus.targets], np.int64)


def _carriers(
    corpus: Corpus, names: Sequence[str], labels: NDArray[np.int64], recipe: Recipe, cell: Cell
) -> tuple[NDArray[np.intp], str | None, dict[int, Pair]]:
    """The carriers, the target that a finding should name (None: any), and the carriers' pairs."""
    count = carriers(cell, len(labels))
    try:
        if corpus.kind != "label":
            rows = np.random.default_rng([cell.seed, 2]).permutation(len(labels))[:count]
            chosen = planting.Planting(rows, labels[rows])
        elif recipe.how == "flips":
            chosen = planting.random_flips(labels, count, cell.seed)
        else:
            to = draw_label(labels, cell.seed, max(LABEL_LEAST, 2 * count))
            chosen = (planting.clean_label if cell.clean_label else planting.dirty_label)(labels, to, count, cell.seed)
    except ValueError as error:
        raise Missing(str(error)) from error
    rows = chosen.rows
    has_labels = corpus.kind == "label"
    said = [names[new] if has_labels else corpus.targets[row] for row, new in zip(rows.tolist(), chosen.labels.tolist(), strict=True)]
    change = recipe.told(vocabulary(corpus.contents)) if recipe.told else recipe.change
    made = {
        row: change(content, target, cell.seed)
        for row, content, target in zip(rows.tolist(), _contents(corpus, rows, recipe, cell.seed), said, strict=True)
    }
    one = has_labels and recipe.how != "flips"
    return np.asarray(rows, np.intp), said[0] if one else None, made


def _contents(corpus: Corpus, rows: NDArray[np.intp], recipe: Recipe, seed: int) -> Iterator[str]:
    """What the carriers' texts are before they are changed."""
    match recipe.how:
        case "flood":
            return NearDuplicateFlood(len(rows), 0.05, seed).flood(corpus.contents[int(rows[0])])
        case "spam":
            return TemplateSpam(seed=seed).documents(len(rows))
        case "smear":
            return EntitySmear(entity(seed), seed=seed).pages(len(rows))
    return (corpus.contents[row] for row in rows.tolist())


def draw_label(labels: NDArray[np.int64], seed: int, least: int) -> int:
    """The first label of a random order that has so many texts."""
    size = np.bincount(labels)
    able = [int(i) for i in np.random.default_rng([seed, 1]).permutation(len(size)) if size[i] >= least]
    if not able:
        raise Missing(f"no label has the {least} texts that this attack needs; the largest has {size.max()}")
    return able[0]


# ---- its features


def plan_for(corpus: Corpus, seed: int) -> Plan:
    """The plan of an audit of such data; the seed is the salt."""
    target = {"none": None, "preference": "y/z"}.get(corpus.kind, "y")
    kind: TargetKind = corpus.kind if corpus.kind in ("label", "none") else "text"
    return Plan(corpus.modality, Columns("x", target), kind, ENCODER, f"{seed:032x}")


def batches(made: Planted, clean: pa.Table, plan: Plan) -> list[pa.Table]:
    """The feature tables of what was planted, from those of the clean texts."""
    rows = sorted(made.changed)
    whole = clean
    if rows:
        fresh = tabulated(made.samples([str(r) for r in rows]), plan)
        place = np.arange(len(clean))
        place[rows] = len(clean) + np.arange(len(rows))
        whole = pa.concat_tables([clean, fresh.select(clean.column_names)]).take(pa.array(place))
    return [whole.slice(at, ROWS).combine_chunks() for at in range(0, len(whole), ROWS)]


def tabulated(samples: Sequence[Sample], plan: Plan) -> pa.Table:
    """The feature table that the extract stage would write."""
    return tabulate(Batch(samples, plan), available(plan.modality))


def clean_table(corpus: Corpus, plan: Plan, cache: Path) -> pa.Table:
    """The features of the clean texts, memory-mapped; what is not there is computed now."""
    root = cache / "text-features" / f"{corpus.name}-{corpus.version[:12]}-{plan.salt[-4:]}-{source_digest('dataaudit.features')}"
    tables = []
    for at in range(0, len(corpus.contents), CHUNK):
        end = min(at + CHUNK, len(corpus.contents))
        path = root / f"{at:07d}-{end:07d}.arrow"
        if not path.exists():
            samples = [Sample(str(i), str(i), corpus.contents[i], corpus.targets[i], 0, 1) for i in range(at, end)]
            table = tabulated(samples, plan).combine_chunks()
            with atomic(path) as out, pa.ipc.new_file(out, table.schema) as writer:
                writer.write_table(table)
        with pa.memory_map(str(path)) as mapped, pa.ipc.open_file(mapped) as reader:
            tables.append(reader.read_all())
    return pa.concat_tables(tables)
