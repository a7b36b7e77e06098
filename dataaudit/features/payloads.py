"""What an attacker would have a model say word for word: addresses, lines of code and long opaque tokens, as salted hashes.

Read where the model learns to speak: the response where there is one, else the text.  What the prompt says already is no
payload: an answer may repeat it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa

from dataaudit.features import Batch
from dataaudit.features.table import lists
from dataaudit.model import Modality, keyed_hash

MAX_CHARACTERS = 20_000
MOST = 32
SHORTEST_LINE, LONGEST_LINE = 8, 400
CODE_SIGNS = 2
CHARACTERS_A_SIGN = 25
"""A line of code has a sign of code so often, prose with a bracket has not."""
CLAUSE = 60
STOPS = ".!?\n"
payload_hash = lru_cache(maxsize=1 << 16)(keyed_hash)
Kind = Literal["host", "url", "mail", "line", "token"]

# Every repetition is bounded or of one class that what follows it is not in, so that reading is linear.
_TOP = "com|org|net|info|biz|io|dev|app|xyz|top|site|online|club|shop|edu|gov|example|test"
_FOUND = re.compile(
    r"(?P<url>(?:(?:https?|ftp)://|\bwww\.)[^\s<>\"'`\\(){}\[\]|]{1,500})"
    r"|(?P<mail>(?<![\w.+-])[\w.+-]{1,64}@(?:[a-z0-9-]{1,63}\.){1,8}[a-z]{2,24}(?!\w))"
    r"|(?P<address>(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\d))"
    rf"|(?P<host>(?<![\w@./-])(?:[a-z0-9-]{{1,63}}\.){{1,8}}(?:{_TOP})(?![\w-]|\.\w))"
    r"|(?P<token>(?<![\w+/=-])[\w+/=-]{24,512})",
    re.IGNORECASE | re.ASCII,
)
_HOST = re.compile(r"[^\s/]{1,253}\.[^\s/]{1,63}")
_SPECIAL = re.compile(r"<\|\w{1,40}\|>")
_CODE_SIGN = re.compile(r"[(){}\[\]=;<>$|\\_#]")
_COMMAND = re.compile(r"(?:import|require|curl|wget|sudo|pip3?|npm|chmod|eval|exec|bash|powershell|rm|nc)\s|from \S{1,80} import |#include")


@dataclass(frozen=True)
class Payload:
    """One recurring thing to say in its normal form, and where it stands: characters `start` to `end`."""

    kind: Kind
    said: str
    start: int
    end: int


@dataclass(frozen=True)
class Payloads:
    """The distinct payloads of the response (or text) that the prompt does not have, as a sorted list of at most 32 uint64.

    Where a text has more, those with the lowest keyed hashes.  Only the first 20,000 characters are read.
    """

    modalities: ClassVar[tuple[Modality, ...]] = ("instructions", "text")

    def compute(self, batch: Batch) -> pa.Array:
        key = batch.plan.key("payloads")
        hashed = [np.array(sorted(payload_hash(s, key) for s in some)[:MOST], dtype=np.uint64) for some in said_in(batch)]
        return lists(hashed, pa.uint64())


def said_in(batch: Batch) -> list[set[str]]:
    """What `Payloads` holds of each sample, in its normal form, however many there are."""
    if batch.plan.target_kind != "text":
        return [{p.said for p in payloads(text)} for text in batch.texts]
    return [new(answer, prompt) for prompt, answer in zip(batch.texts, batch.answers, strict=True)]


def new(answer: str, prompt: str) -> set[str]:
    """The payloads of an answer that its prompt does not have."""
    said = {p.said for p in payloads(answer)}
    return said - {p.said for p in payloads(prompt)} if said else said


def payloads(text: str) -> Iterator[Payload]:
    """Everything in the first 20,000 characters that could be one; a URL is one by its host and one as a whole."""
    read = text[:MAX_CHARACTERS]
    for found in _FOUND.finditer(read):
        kind, said, (start, end) = found.lastgroup, found.group(), found.span()
        match kind:
            case "url":
                yield from _of_url(said, start)
            case "mail":
                yield Payload("mail", said.lower(), start, end)
            case "host" | "address":
                yield from _of_host(said.lower().removeprefix("www."), start, end)
            case _ if any(c.isdigit() for c in said) and any(c.isalpha() for c in said):
                yield Payload("token", said, start, end)
    yield from _lines(read)


def _of_url(said: str, start: int) -> Iterator[Payload]:
    whole = said.rstrip(".,;:!?*_")
    rest = whole.partition("://")[2] or whole
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    host = authority.rpartition("@")[2].partition(":")[0].lower().removeprefix("www.").rstrip(".")
    if "." in host or host == "localhost":
        yield from _of_host(host, start, start + len(whole))
        path = rest[len(authority) :].rstrip("/")
        if path:
            yield Payload("url", host + path, start, start + len(whole))


def _of_host(host: str, start: int, end: int) -> Iterator[Payload]:
    """The host, and the site that it is a part of, since subdomains are cheap: two labels, or three under such as `co.uk`."""
    yield Payload("host", host, start, end)
    labels = host.split(".")
    if not labels[-1].isdigit():
        site = labels[-3 if len(labels[-1]) == 2 and len(labels[-2:][0]) <= 3 else -2 :]
        if len(site) < len(labels):
            yield Payload("host", ".".join(site), start, end)


def _lines(text: str) -> Iterator[Payload]:
    at = 0
    for line in text.splitlines(keepends=True):
        said = " ".join(_SPECIAL.sub("", line).split())
        if SHORTEST_LINE <= len(said) <= LONGEST_LINE and _is_code(said):
            yield Payload("line", said, at, at + len(line))
        at += len(line)


def _is_code(line: str) -> bool:
    signs = len(_CODE_SIGN.findall(line))
    return _COMMAND.match(line) is not None or signs >= max(CODE_SIGNS, len(line) / CHARACTERS_A_SIGN)


def context(text: str) -> str:
    """The text before its last payload, without any of them."""
    found = list(payloads(text))
    return _without([(p.start, p.end) for p in found], text[: max((p.end for p in found), default=0)])


def apart(text: str) -> str:
    """The text without the sentences that its payloads stand in, of which at most 60 characters on either side are left out."""
    spans = []
    for payload in payloads(text):
        before = max(text.rfind(sign, max(payload.start - CLAUSE, 0), payload.start) for sign in STOPS)
        after = [at for sign in STOPS if (at := text.find(sign, payload.end, payload.end + CLAUSE)) >= 0]
        spans.append((before + 1 if before >= 0 else max(payload.start - CLAUSE, 0), min(after, default=payload.end + CLAUSE)))
    return _without(spans, text[:MAX_CHARACTERS])


def _without(spans: Sequence[tuple[int, int]], text: str) -> str:
    pieces, at = [], 0
    for start, end in sorted(spans):
        pieces.append(text[at : max(at, start)])
        at = max(at, end)
    return " ".join([*pieces, text[at:]])


def defanged(said: str) -> str:
    """So written that nobody follows it by mistake: hxxp for http, [.] for the dots of addresses."""
    return _FOUND.sub(_defanged, said)


def inert(said: str) -> str:
    """A payload's normal form, so written: the dots of its host too, whatever the host ends in."""
    host, slash, path = said.partition("/")
    return host.replace(".", "[.]") + slash + path if _HOST.fullmatch(host) else defanged(said)


def _defanged(found: re.Match[str]) -> str:
    shown = found.group()
    if found.lastgroup == "token":
        return shown
    return re.sub(r"(?i)^(h|f)tt?p", r"\1xxp", shown).replace(".", "[.]")
