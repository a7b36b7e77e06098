"""What a data set is made of, from the usual names of columns and extensions and the first samples' values."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from dataaudit.errors import ConfigurationError
from dataaudit.model import OVER, Columns, Modality, Shard, TargetKind
from dataaudit.sources import specification
from dataaudit.sources.contract import Field, FieldKind, UnreadableError, shown
from dataaudit.sources.specification import JOIN, part

IMAGES = ("image", "img", "jpg", "jpeg", "png", "webp", "bmp", "gif")
PROMPTS = ("instruction", "prompt", "question", "input")
PROMPT_CONTEXTS = ("input", "context")
TEXTS = ("text", "content", "sentence", "txt", *PROMPTS)
RESPONSES = ("response", "output", "completion", "answer")
CAPTIONS = ("caption", "txt", "text")
CONVERSATIONS = ("messages", "conversations", "conversation", "dialogue", "dialog", "turns")
SYSTEMS = ("system", "system_prompt")
CHOSEN, REJECTED = ("chosen",), ("rejected",)
LABELS = ("label", "class", "category", "target", "cls")
KEYS = ("id", "key", "uid")
VECTORS = ("embedding", "embeddings", "vector", "emb", "features", "npy")

WHOLE = 1.5
"""From this mean number of turns on, a column holds conversations rather than single turns."""
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
        """What the user named: of a tar at least one alternative, of a table all parts, and conversations where one is looked into."""
        if spec is None or spec in self.known:
            return
        sides = spec.split(OVER) if option == "target" else [spec]
        pieces = [piece for side in sides for piece in (side.split(JOIN) if option == "content" and self.shard.format != "tar" else [side])]
        if len(sides) > 2 or not all(self._has(piece) for piece in pieces):
            raise ConfigurationError(
                f"{self.shard.name}: no column or extension {spec!r} (--{option}); there is {self.there}. Name one of these."
            )
        for looked in map(part, pieces):
            if looked.view and looked.name in self.known and not self.known[looked.name].turns:
                raise ConfigurationError(
                    f"{self.shard.name}: {looked.name!r} holds no conversations as far as the first samples show, "
                    f"so there is no {str(looked)!r} (--{option}); there is {self.there}."
                )

    @property
    def there(self) -> str:
        """The fields by name, for a message."""
        named = [shown(name, 30) + " (conversations)" * (told.turns > 0) for name, told in list(self.known.items())[:20]]
        return ", ".join(named) or "nothing"

    def _has(self, piece: str) -> bool:
        named = part(piece)
        return named.optional or any(name in self.known for name in (piece, named.name, *piece.split(";")))


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
    wanted = _shaped(fields, wanted)
    content = wanted.content or _content(fields, wanted)
    embedding = wanted.embedding or (fields.first(VECTORS, ("vector",)) if content is None else None)
    if content is None and embedding is None:
        raise ConfigurationError(
            f"{shard.name}: no column looks like content; there is {fields.there}. {_unlike(fields)}Name it with --content (and --target)."
        )
    images = content is not None and _is_image(fields, content)
    target = wanted.target or _target(fields, content, images, embedding)
    kind = _target_kind(fields, target, images=images)
    identity = wanted.id or next(
        (n for n in fields.find(KEYS, ("text", "integer")) if shard.format in {"jsonl", "parquet"} and known[n].unique), None
    )
    return _modality(content, images, kind), Columns(content, target, identity, embedding), kind


def _unlike(fields: _Fields) -> str:
    """Why a column that is called like content was not taken: its first samples hold something else."""
    called = next((name for name in fields.known if _last(name) in (*IMAGES, *TEXTS)), None)
    if called is None:
        return ""
    held = {"text": "text", "bytes": "bytes", "other": "values of no or of several kinds"}.get(fields.known[called].kind, "numbers")
    return f"In the first samples {shown(called, 30)} holds {held}. "


def _modality(content: str | None, images: bool, kind: TargetKind) -> Modality:
    if content is None:
        return "vectors"
    if images:
        return "captioned-images" if kind == "text" else "labelled-images"
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
    return _prompt(fields, found, taken)


def _prompt(fields: _Fields, found: str, taken: Container[str | None]) -> str:
    """A prompt with the system prompt before it and its context behind it, where there are such columns."""
    context = next((name for name in fields.find(PROMPT_CONTEXTS, ("text",)) if name != found and name not in taken), None)
    return _system(fields) + (f"{found}+{context}" if context and _last(found) in PROMPTS else found)


def _system(fields: _Fields) -> str:
    """A column of system prompts as a part that may be missing; it often is empty for thousands of samples."""
    system = fields.first(SYSTEMS, ("text", "other")) if fields.shard.format in {"jsonl", "parquet"} else None
    return f"{system}?{JOIN}" if system else ""


def _shaped(fields: _Fields, wanted: Columns) -> Columns:
    """Preference pairs and conversations, where nobody named something else; a conversation that was named as it is gets a view."""
    usual = None if fields.first(IMAGES, ("bytes",)) else _preference(fields) or _conversation(fields, wanted)
    if fields.first(RESPONSES, ("text",)) and fields.first(PROMPTS, ("text",)):
        usual = None
    target = _viewed(fields, wanted.target, OVER, "last")
    said = [p.name for p in specification.target_parts(target, fields.known) if p.view == "last"]
    content = _viewed(fields, wanted.content, JOIN, "before" if target is None or wanted.content in said else "all")
    seen = [p.name for p in specification.content_parts(content, fields.known) if p.view == "before"]
    if content is None and said:
        content = usual[0] if usual and usual[1] == target else f"{said[0]}:before"
    elif target is None and seen:
        target = usual[1] if usual and usual[0] == content else f"{seen[0]}:last"
    elif usual and content is None:
        content, target = (usual[0], usual[1]) if target is None else (usual[0].replace(":before", ":all"), target)
    elif usual and target is None and OVER in usual[1]:
        target = usual[1]
    return replace(wanted, content=content, target=target)


def _viewed(fields: _Fields, spec: str | None, between: str, view: str) -> str | None:
    """A specification with a view for every list of turns that was named without one."""
    if spec is None:
        return None
    pieces = [spec] if spec in fields.known else spec.split(between)
    return between.join(f"{p}:{view}" if p in fields.known and fields.known[p].kind == "turns" else p for p in pieces)


def _preference(fields: _Fields) -> tuple[str, str] | None:
    """Content and target of preference pairs: answers, or whole conversations, which hold the prompt."""
    chosen, rejected = (fields.first(names, ("text", "turns")) for names in (CHOSEN, REJECTED))
    if chosen is None or rejected is None:
        return None
    turns = (fields.known[chosen].turns, fields.known[rejected].turns)
    if 0 in turns and turns != (0, 0):
        return None
    target = f"{chosen}{OVER}{rejected}" if turns == (0, 0) else f"{chosen}:last{OVER}{rejected}:last"
    if turns[0] >= WHOLE:
        return f"{_system(fields)}{chosen}:before", target
    prompt = fields.first(PROMPTS, ("text", "turns"))
    if prompt is None:
        return None
    if fields.known[prompt].kind == "turns":
        return f"{_system(fields)}{prompt}:all", target
    return prompt if fields.shard.format == "tar" else _prompt(fields, prompt, ()), target


def _conversation(fields: _Fields, wanted: Columns) -> tuple[str, str] | None:
    """Content and target of conversations: by a usual name, or because nothing else is there."""
    named = fields.find(CONVERSATIONS, ("turns", "text"))
    others = [name for name, told in fields.known.items() if told.kind == "turns"] if _content(fields, wanted) is None else []
    found = next((name for name in (*named, *others) if fields.known[name].turns >= WHOLE), None)
    return (f"{_system(fields)}{found}:before", f"{found}:last") if found else None


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
    split = specification.target_parts(target, fields.known)
    if len(split) > 1 or split[0].view or name in RESPONSES or (images and name in CAPTIONS):
        return "text"
    free = field is not None and field.kind == "text" and field.chars > RESPONSE_CHARS and field.distinct > 0.5
    return "text" if free else "label"


def looked_at(shard: Shard, known: Mapping[str, Field]) -> Mapping[str, Field]:
    """The fields, of which there must be some."""
    if not known:
        raise UnreadableError(f"{shard.name}: there is no sample to look at")
    return known
