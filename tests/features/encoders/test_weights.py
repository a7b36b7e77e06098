"""What an open_clip name means: parsed, found, hashed and pinned; another file, another revision or a pickle is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import huggingface_hub
import open_clip.pretrained
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError

from dataaudit.errors import EncoderError
from dataaudit.features.encoders import weights
from dataaudit.features.encoders.weights import Spec, find, parse, pinned

SHA = "ab" * 32
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("open_clip:ViT-B-32", Spec("ViT-B-32")),
        ("open_clip:ViT-B-32/laion2b_s34b_b79k", Spec("ViT-B-32", "laion2b_s34b_b79k")),
        (f"open_clip:ViT-B-32/openai@{COMMIT}", Spec("ViT-B-32", "openai", COMMIT)),
        (f"open_clip:ViT-B-32@main@sha256:{SHA}", Spec("ViT-B-32", "", "main", SHA)),
        ("open_clip:RN50/a/w.safetensors", Spec("RN50", "a/w.safetensors")),
        (f"open_clip:RN50//a@b/w@2.safetensors@sha256:{SHA}", Spec("RN50", "/a@b/w@2.safetensors", "", SHA)),
    ],
)
def test_a_name_is_parsed_and_written_back(name: str, spec: Spec) -> None:
    assert parse(name) == spec
    assert spec.name == name


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("open_clip:RN50/openai@sha256:12", "64 hex digits"),
        (f"open_clip:RN50/w.safetensors@{COMMIT}", "no revision"),
        ("open_clip:RN50/openai@", "no revision"),
        ("open_clip:RN50/openai@../../x", "no revision"),
    ],
)
def test_what_pins_nothing_is_said(name: str, told: str) -> None:
    with pytest.raises(EncoderError, match=told):
        parse(name)


def test_a_local_file_is_pinned_by_its_bytes(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    file.write_bytes(b"one")
    exact = pinned(Spec("RN50", str(file)))
    assert exact == Spec("RN50", str(file), "", hashlib.sha256(b"one").hexdigest())
    assert find(exact).sha256 == exact.sha256
    file.write_bytes(b"two")
    with pytest.raises(EncoderError, match=f"expected {exact.sha256}"):
        find(exact)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fake of the hub: serves the files of one snapshot, whatever revision is asked for; returns where to put them."""
    snapshot = tmp_path / "models--someone--clip" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)

    def download(repository: str, file: str, revision: str | None, library_name: str) -> str:
        assert repository == "someone/clip"
        if (tmp_path / "offline").exists():
            raise LocalEntryNotFoundError("no connection")
        if not (snapshot / file).exists():
            raise RemoteEntryNotFoundError.__new__(RemoteEntryNotFoundError)
        return str(snapshot / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    tags = {"safe": {"hf_hub": "someone/clip/"}, "bin": {"hf_hub": "someone/clip/pytorch_model.bin"}, "url": {"url": "https://host/w.pt"}}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "RN50", tags)
    return snapshot


def test_a_tag_is_pinned_by_revision_and_bytes(hub: Path) -> None:
    (hub / "open_clip_model.safetensors").write_bytes(b"weights")
    exact = pinned(parse("open_clip:RN50"))
    assert exact == Spec("RN50", "safe", COMMIT, hashlib.sha256(b"weights").hexdigest())
    assert find(parse(f"open_clip:RN50/safe@{COMMIT[:8]}")).revision == COMMIT
    with pytest.raises(EncoderError, match=f"revision {COMMIT}, expected fedcba9"):
        find(parse("open_clip:RN50/safe@fedcba9876543210"))
    with pytest.raises(EncoderError, match="not the weights that were pinned"):
        find(parse(f"open_clip:RN50/safe@sha256:{SHA}"))


@pytest.mark.parametrize(("tag", "where"), [("safe", "open_clip_pytorch_model.bin"), ("bin", "pytorch_model.bin"), ("url", "w.pt")])
def test_weights_that_are_only_a_pickle_are_refused(hub: Path, tag: str, where: str) -> None:
    (hub / "pytorch_model.bin").write_bytes(b"\x80\x04")
    (hub / "open_clip_pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(EncoderError, match=rf"only as a pickle .*{where}.*PATH.safetensors"):
        find(Spec("RN50", tag))


def test_without_a_connection_it_says_so(hub: Path, tmp_path: Path) -> None:
    (tmp_path / "offline").touch()
    with pytest.raises(EncoderError, match="cannot be reached"):
        find(Spec("RN50", "safe"))


def test_an_unknown_tag_names_the_known_ones(hub: Path) -> None:
    with pytest.raises(EncoderError, match="there are safe, bin, url"):
        find(Spec("RN50", "absent"))
    assert list(weights.safe_names("x.pth")) == ["x.safetensors"]
