"""What a data set is made of, from the usual names of columns and extensions and the first samples' values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dataaudit.errors import ConfigurationError
from dataaudit.model import Columns, Modality, Shard, TargetKind
from dataaudit.sources.contract import Field, FieldKind, UnreadableError, shown

IMAGES = ("image", "img", "jpg", "jpeg", "png", "webp", "bmp", "gif")
PROMPTS = ("instruction", "prompt", "question", "input")
PROMPT_CONTEXTS = ("input", "context")
TEXTS = ("text", "content", "sentence", "txt", *PROMPTS)
RESPONSES = ("response", "output", "completion", "answer")
CAPTIONS = ("caption", "txt", "text")
LABELS = ("label", "class", "category", "target", "cls")
KEYS = ("id", "key", "uid")
VECTORS = ("embedding", "embeddings", "vector", "emb", "features", "npy")

RESPONSE_CHARS = 40
"""A target that nobody named a label or a response is taken for free text above this mean length, if most of its values differ."""


@dataclass(frozen=True, slots=True)
class _Fields:
    """The fields of a shard, and the last part of their names (`json:label` -> `label`, `rgb.jpg` -> `jpg`) in lower case."""

    known: Mapping[str, Field]
    shard: Shard

    def find(self, names: Sequence[str], kinds: Sequence[FieldKind]) -> Iterator[str]:
        """Fields with one of these names and kinds, in the order of the names, exact names first."""
        for name in names:
            matching = [field for field, told in self.known.items() if told.kind in kinds and _last(field) == name]
            yield from sorted(matching, key=lambda field: field.lower() != name)

    def first(self, names: Sequence[str], kinds: Sequence[FieldKind]) -> str | None:
        return next(self.find(names, kinds), None)

    def check(self, option: str, spec: str | None) -> None:
        """Every alternative or part of a column that the user named: at least one alternative, all parts."""
        if spec is None or spec in self.known:
            return
        if any(self._has(alternative) for alternative in spec.split(";")):
            return
        there = ", ".join(shown(name, 30) for name in list(self.known)[:20]) or "nothing"
        raise ConfigurationError(f"{self.shard.name}: no column or extension {spec!r} (--{option}); there is {there}. Name one of these.")

    def _has(self, alternative: str) -> bool:
        if self.shard.format == "tar":
            return alternative in self.known
        return all(part in self.known for part in alternative.split("+"))


def _extension(spec: str | None) -> str | None:
    """`.JPG; png` as `jpg;png`; the field of `json:Label` stays as it is."""
    if spec is None:
        return None
    extensions, colon, field = spec.partition(":")
    return ";".join(part.strip().lower().lstrip(".") for part in extensions.split(";")) + colon + field


def _last(field: str) -> str:
    """The part of a field's name that says what it is."""
    return field.lower().rpartition(":")[2].rpartition(".")[2]


def decide(shard: Shard, known: Mapping[str, Field], wanted: Columns) -> tuple[Modality, Columns, TargetKind]:
    """Modality, columns and kind of target; what was wanted wins and must be there."""
    fields = _Fields(known, shard)
    if shard.format == "tar":
        wanted = Columns(*(_extension(spec) for spec in (wanted.content, wanted.target, wanted.id, wanted.embedding)))
    for option, spec in (("content", wanted.content), ("target", wanted.target), ("id", wanted.id), ("embedding", wanted.embedding)):
        fields.check(option, spec)
    content = wanted.content or _content(fields, wanted)
    embedding = wanted.embedding or (fields.first(VECTORS, ("vector",)) if content is None else None)
    if content is None and embedding is None:
        there = ", ".join(shown(name, 30) for name in list(known)[:20]) or "nothing"
        raise ConfigurationError(f"{shard.name}: no column looks like content; there is {there}. Name it with --content (and --target).")
    images = content is not None and _is_image(fields, content)
    target = wanted.target or _target(fields, content, images, embedding)
    kind = _target_kind(fields, target, images=images)
    identity = wanted.id or next(
        (n for n in fields.find(KEYS, ("text", "integer")) if shard.format in {"jsonl", "parquet"} and known[n].unique), None
    )
    return _modality(content, images, kind), Columns(content, target, identity, embedding), kind


def _modality(content: str | None, images: bool, kind: TargetKind) -> Modality:
    if content is None:
        return "vectors"
    if images:
        return "labelled-images"
    return "instructions" if kind == "text" else "labelled-text" if kind == "label" else "text"


def _content(fields: _Fields, wanted: Columns) -> str | None:
    images = [name for name in fields.find(IMAGES, ("bytes",)) if name != wanted.target]
    if images:
        alternatives = [name for name in images if fields.shard.format == "tar" and "." not in name]
        return ";".join(sorted(alternatives, key=list(fields.known).index)) or images[0]
    taken = {wanted.target, wanted.id, wanted.embedding}
    response = fields.first(RESPONSES, ("text",)) or (wanted.target if _target_kind(fields, wanted.target) == "text" else None)
    order = (*PROMPTS, *TEXTS) if response else TEXTS
    found = next((name for name in fields.find(order, ("text",)) if name not in taken), None)
    if found is None or fields.shard.format not in {"jsonl", "parquet"} or _last(found) == "input" or not response:
        return found
    context = next((name for name in fields.find(PROMPT_CONTEXTS, ("text",)) if name not in {found, *taken}), None)
    return f"{found}+{context}" if context and _last(found) in PROMPTS else found


def _is_image(fields: _Fields, content: str) -> bool:
    names = [content] if content in fields.known else [part for part in content.split(";") if part in fields.known]
    return any(fields.known[name].kind == "bytes" for name in names)


def _target(fields: _Fields, content: str | None, images: bool, embedding: str | None) -> str | None:
    used = {content, embedding, *(content or "").split("+"), *(content or "").split(";")}
    usual = ("directory",) if fields.shard.format == "folder" else LABELS
    label = next((n for n in fields.find(usual, ("text", "integer", "number")) if n not in used), None)
    if images:
        return label or next((n for n in fields.find(CAPTIONS, ("text",)) if n not in used), None)
    response = next((n for n in fields.find(RESPONSES, ("text",)) if n not in used), None)
    prompted = content is not None and _last(content.partition("+")[0]) in PROMPTS
    return (response or label) if prompted else (label or response)


def _target_kind(fields: _Fields, target: str | None, *, images: bool = False) -> TargetKind:
    if target is None:
        return "none"
    name, field = _last(target.partition(";")[0]), fields.known.get(target)
    if name in RESPONSES or (images and name in CAPTIONS):
        return "text"
    free = field is not None and field.kind == "text" and field.chars > RESPONSE_CHARS and field.distinct > 0.5
    return "text" if free else "label"


def looked_at(shard: Shard, known: Mapping[str, Field]) -> Mapping[str, Field]:
    """The fields, of which there must be some."""
    if not known:
        raise UnreadableError(f"{shard.name}: there is no sample to look at")
    return known
