"""What a report shows of a finding: plain values in reading order, made from the finding and the evidence kept of its samples."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dataaudit.model import Finding
from dataaudit.reports.plain import excerpt, odds
from dataaudit.store.directory import Evidence

PICTURE_BYTES = 64 << 10
"""A larger trigger picture is not embedded."""
SNIPPET = 240
LONGEST_VALUE = 300
PHRASES = ("phrase", "trigger", "ngram", "token")
SAID = frozenset({"picture", "purity", "coherence", "place", "innocent", "ruled_out", "excerpts", "snippets", "ngrams", *PHRASES})
"""Evidence that a card words or pictures, or that is of use to machines only; the rest is listed as it is."""


@dataclass(frozen=True)
class Carrier:
    """One sample of a finding: a data URI of its thumbnail or a snippet, or neither where its content was not kept."""

    id: str
    target: str
    snippet: str
    image: str


@dataclass(frozen=True)
class Card:
    """A finding as a person reads it; `facts` and `details` are label and text.

    `innocent` is an innocent cause: one that the detector ruled out, or one that it could not.
    """

    finding: Finding
    phrase: str
    picture: str
    sure: str
    innocent: str
    ruled_out: bool
    facts: tuple[tuple[str, str], ...]
    details: tuple[tuple[str, str], ...]
    excerpts: tuple[str, ...]
    carriers: tuple[Carrier, ...]


def card(finding: Finding, kept: Mapping[str, Evidence], carriers: int = 8) -> Card:
    """A finding with up to `carriers` of its samples."""
    said = finding.evidence
    named = phrase(said)
    innocent = next((v for name in ("ruled_out", "innocent") if isinstance(v := said.get(name), str)), "")
    shown = tuple(carrier(i, kept.get(i), named) for i in finding.samples[:carriers])
    return Card(
        finding=finding,
        phrase=named,
        picture=embedded(said.get("picture")),
        sure=f"risk {finding.risk:.2f}; {odds(finding.p_value)}" if odds(finding.p_value) != "not computed" else f"risk {finding.risk:.2f}",
        innocent=innocent,
        ruled_out=bool(innocent) and (finding.kind == "campaign" or "ruled_out" in said),
        facts=tuple(facts(finding)),
        details=tuple((k.replace("_", " "), brief(v)) for k, v in said.items() if k not in SAID),
        excerpts=()
        if any("«" in c.snippet if named else c.snippet for c in shown)
        else strings(said.get("snippets") or said.get("excerpts")),
        carriers=shown,
    )


def phrase(evidence: Mapping[str, object]) -> str:
    """The words that a trigger consists of, or an empty string."""
    return next((v for name in PHRASES if isinstance(v := evidence.get(name), str) and v), "")


def carrier(sample_id: str, kept: Evidence | None, named: str) -> Carrier:
    """A sample with what was kept of it."""
    if kept is None:
        return Carrier(sample_id, "", "", "")
    snippet = excerpt(kept.snippet, named, SNIPPET) if kept.snippet else ""
    return Carrier(sample_id, kept.target or "", snippet, data_uri(kept.thumbnail))


def facts(finding: Finding) -> Iterable[tuple[str, str]]:
    """Purity, coherence and place in words, as far as the detector measured them."""
    said = finding.evidence
    if isinstance(purity := said.get("purity"), float):
        yield "Purity", f"{purity:.0%} of the samples with this feature have this target"
    if isinstance(coherence := said.get("coherence"), float):
        others = [f"{v:.2f} for {_whose(name)}" for name, v in said.items() if name != "coherence" and "coherence" in name and number(v)]
        against = f", against {' and '.join(others)}" if others else ""
        yield "Coherence", f"the contents of the carriers are alike to {coherence:.2f}{against}"
    place = said.get("place")
    if isinstance(place, dict):
        place = list(place.values())
    if isinstance(place, (list, tuple)) and len(place) == 4 and all(number(v) for v in place):
        x, y, width, height = place
        yield "Place", f"{width} × {height} px at x {x}, y {y}"


def _whose(name: str) -> str:
    """`coherence_of_the_label` and `label_coherence` are about the label."""
    return name.replace("coherence_of_", "").replace("coherence_", "").replace("_coherence", "").replace("_", " ")


def number(value: object) -> bool:
    """Whether a JSON value is a number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def brief(value: object) -> str:
    """A JSON value on one line."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return "; ".join(f"{k}: {brief(v)}" for k, v in list(value.items())[:20])[:LONGEST_VALUE]
    if isinstance(value, (list, tuple)):
        more = f" and {len(value) - 8:,} more" if len(value) > 8 else ""
        return ", ".join(brief(v) for v in value[:8])[:LONGEST_VALUE] + more
    return "none" if value is None else str(value)[:LONGEST_VALUE]


def strings(value: object) -> tuple[str, ...]:
    """The texts of a list, cut; anything else is none."""
    return tuple(v[:SNIPPET] for v in value[:8] if isinstance(v, str)) if isinstance(value, (list, tuple)) else ()


def embedded(picture: object) -> str:
    """A picture that evidence holds as base64, as a data URI; empty where it is no small PNG or JPEG."""
    if not isinstance(picture, str) or len(picture) > PICTURE_BYTES * 4 // 3 + 4:
        return ""
    try:
        return data_uri(base64.b64decode(picture, validate=True))
    except (binascii.Error, ValueError):
        return ""


def data_uri(image: bytes | None) -> str:
    """A data URI of a PNG or JPEG, judged by its first bytes; of anything else (SVG may hold scripts) an empty string."""
    if image is None or len(image) > PICTURE_BYTES:
        return ""
    kind = "png" if image.startswith(b"\x89PNG\r\n\x1a\n") else "jpeg" if image.startswith(b"\xff\xd8\xff") else ""
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}" if kind else ""
