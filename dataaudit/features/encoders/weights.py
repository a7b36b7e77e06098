"""Which weights an open_clip encoder means: a specification is parsed, found on the hub or on disk, hashed, and pinned.

    MODEL                                   the first published tag
    MODEL/TAG                               a named set of weights from the hub
    MODEL/TAG@REVISION                      as the hub had it at a commit (or a branch)
    MODEL/PATH.safetensors                  a local file
    ...@sha256:HEX                          and nothing but these very bytes; may follow any of them

Only safetensors files are ever opened.  open_clip itself would read a tag's pickle with `weights_only=True`; here it is refused,
since that is a promise of torch's about pickles, and a safetensors file needs none.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dataaudit.errors import EncoderError

PREFIX = "open_clip:"
SUFFIX = ".safetensors"
COMMIT = re.compile(r"[0-9a-f]{40}")
ABBREVIATED = re.compile(r"[0-9a-f]{7,40}")
REVISION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]*")
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Spec:
    """What was asked for; what is empty was left open.  `weights` is a tag of the hub's or the path of a local file."""

    model: str
    weights: str = ""
    revision: str = ""
    sha256: str = ""

    @property
    def local(self) -> bool:
        """Whether the weights are a file on this machine."""
        return self.weights.endswith(SUFFIX)

    @property
    def name(self) -> str:
        """The encoder's name, which `parse` reads back."""
        told = [f"{PREFIX}{self.model}", f"/{self.weights}" if self.weights else "", f"@{self.revision}" if self.revision else ""]
        return "".join(told) + (f"@sha256:{self.sha256}" if self.sha256 else "")


@dataclass(frozen=True)
class Weights:
    """A weights file that was found and hashed; `revision` is the hub's commit, empty for a local file."""

    path: Path
    sha256: str
    revision: str = ""


def parse(name: str) -> Spec:
    """An encoder's name, `open_clip:` and all, taken apart; one that makes no sense raises EncoderError."""
    rest, pinned, sha256 = name.removeprefix(PREFIX).partition("@sha256:")
    if pinned and not SHA256.fullmatch(sha256):
        raise EncoderError(f"{name}: @sha256: takes the 64 hex digits that `sha256sum` prints, got {sha256!r}")
    model, _, weights = rest.partition("/")
    if weights.endswith(SUFFIX):
        return Spec(model, weights, "", sha256)
    rest, at, revision = rest.rpartition("@") if "@" in rest else (rest, "", "")
    model, _, weights = rest.partition("/")
    if weights.endswith(SUFFIX):
        raise EncoderError(f"{name}: a local file has no revision; pin it as {PREFIX}{rest}@sha256:HEX")
    if at and not REVISION.fullmatch(revision):
        raise EncoderError(f"{name}: {revision!r} is no revision; give a commit, or a branch whose name has no slash")
    return Spec(model, weights, revision, sha256)


def find(spec: Spec) -> Weights:
    """The file that a specification means; another revision or other bytes than it pins raise EncoderError."""
    found = _on_disk(spec) if spec.local else _on_hub(spec)
    if ABBREVIATED.fullmatch(spec.revision) and found.revision and not found.revision.startswith(spec.revision):
        raise EncoderError(
            f"{spec.name}: the hub answered with revision {found.revision}, expected {spec.revision}; ask for the one you trust"
        )
    if spec.sha256 and found.sha256 != spec.sha256:
        raise EncoderError(
            f"{spec.name}: {found.path} has SHA-256 {found.sha256}, expected {spec.sha256}; "
            "these are not the weights that were pinned: do not use them, or pin what you have checked"
        )
    return found


def pinned(spec: Spec) -> Spec:
    """The same specification with nothing left open: which file, at which revision, of which bytes."""
    chosen = completed(spec)
    found = find(chosen)
    where = str(found.path) if chosen.local else chosen.weights
    return replace(chosen, weights=where, revision=found.revision, sha256=found.sha256)


def completed(spec: Spec) -> Spec:
    """The specification with the model's first published tag where no weights were named; a model that is not known raises EncoderError."""
    import open_clip

    if spec.model not in open_clip.list_models():
        raise EncoderError(f"{spec.name}: open_clip has no model {spec.model!r}; `open_clip.list_models()` names them")
    if spec.weights:
        return spec
    tags: list[str] = open_clip.list_pretrained_tags_by_model(spec.model)
    if not tags:
        raise EncoderError(f"{spec.name}: no published weights; give a local file: {PREFIX}{spec.model}/PATH{SUFFIX}")
    return replace(spec, weights=tags[0])


def published(spec: Spec) -> Mapping[str, Any]:
    """What open_clip knows of a tag: where it lies, and how its pictures are prepared; empty for a local file."""
    import open_clip

    known: Mapping[str, Any] = {} if spec.local else open_clip.get_pretrained_cfg(spec.model, spec.weights)
    if not known and not spec.local:
        tags = (
            ", ".join(open_clip.list_pretrained_tags_by_model(spec.model)) or f"none, only a local file: {PREFIX}{spec.model}/PATH{SUFFIX}"
        )
        raise EncoderError(f"{spec.name}: {spec.model} has no weights {spec.weights!r}; there are {tags}")
    return known


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _on_disk(spec: Spec) -> Weights:
    path = Path(spec.weights)
    if not path.is_file():
        raise EncoderError(f"{spec.name}: {spec.weights} is not a file; give the path of a {SUFFIX} file")
    return Weights(path.absolute(), digest(path))  # not where a link leads: the name says that it is safetensors


def _on_hub(spec: Spec) -> Weights:
    known = published(spec)
    repository, _, file = str(known.get("hf_hub") or "").rpartition("/")
    if not repository:
        raise EncoderError(_pickle_only(spec, str(known.get("url", ""))))
    for name in safe_names(file):
        path = _download(spec, repository, name)
        if path is not None:
            return Weights(path, digest(path), _commit(path))
    raise EncoderError(_pickle_only(spec, f"{repository}/{file or 'open_clip_pytorch_model.bin'} on the hub"))


def safe_names(file: str) -> Iterator[str]:
    """The safetensors files that may stand for a weights file of the hub's, as open_clip names them."""
    if not file or file == "open_clip_pytorch_model.bin":
        yield "open_clip_model.safetensors"
    elif file.endswith(SUFFIX):
        yield file
    else:
        yield str(Path(file).with_suffix(SUFFIX))


def _download(spec: Spec, repository: str, file: str) -> Path | None:
    """The file from the hub, or as it was fetched before where there is no connection; None where the hub has no such file."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repository, file, revision=spec.revision or None, library_name="dataaudit"))
    except LocalEntryNotFoundError as error:
        where = f"revision {spec.revision} of {repository}" if spec.revision else repository
        raise EncoderError(
            f"{spec.name}: {file} of {where} was not fetched before and the hub cannot be reached ({error}); "
            f"check the connection, or give a local file: {PREFIX}{spec.model}/PATH{SUFFIX}"
        ) from error
    except EntryNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise EncoderError(
            f"{spec.name}: the hub does not hand out {repository}/{file} ({error}); check tag, revision and access"
        ) from error


def _commit(path: Path) -> str:
    """The commit that a downloaded file belongs to, which is the name of its snapshot; empty where there is none."""
    return next((part for part in reversed(path.parts[:-1]) if COMMIT.fullmatch(part)), "")


def _pickle_only(spec: Spec, where: str) -> str:
    return (
        f"{spec.name}: these weights are published only as a pickle ({where}), which is never opened here, not even with weights_only; "
        f"choose another tag, or convert them once where nothing can come to harm and give {PREFIX}{spec.model}/PATH{SUFFIX}"
    )
