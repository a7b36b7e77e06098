"""An encoder that no longer does what it did is stopped before a scan, and in a worker; another rounding is not."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import dataaudit
from dataaudit.engine import Serial
from dataaudit.engine.distributed import local
from dataaudit.errors import EncoderError
from dataaudit.features import encoders
from dataaudit.features.encoders import Sees
from dataaudit.features.encoders import open_clip as towers
from dataaudit.features.encoders.attestation import EXPECTED, agreement, attest, attest_here, behaviour, pack, pictures, unpack
from dataaudit.features.encoders.weights import find, parse
from dataaudit.model import Columns, Plan, Settings
from dataaudit.stages.extract import extract
from dataaudit.stages.inventory import Prepared, prepare
from tests.features.encoders import tiny
from tests.planted import corpus, write_shards


@pytest.fixture(autouse=True)
def fresh() -> Any:
    yield
    encoders.load.cache_clear()
    attest_here.cache_clear()


def folder_of_images(root: Path) -> Path:
    for i, picture in enumerate(pictures()):
        path = root / ("cat", "dog")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    return root


@pytest.fixture
def scanned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What prepares a scan of a few pictures with a tiny open_clip model, always with the same cache."""
    monkeypatch.setenv("DATAAUDIT_CACHE", str(tmp_path / "graphs"))
    images = folder_of_images(tmp_path / "images")

    def begin(weights: Path) -> Prepared:
        return prepare([str(images)], tmp_path / "out", Settings(serial=True, encoder=f"open_clip:{tiny.MODEL}/{weights}"))

    return begin


def test_the_built_in_pictures_are_the_same_everywhere() -> None:
    digest = hashlib.sha256(b"".join(picture.tobytes() for picture in pictures())).hexdigest()
    assert digest[:16] == "c23db12ce26460aa"


@pytest.mark.parametrize(("name", "sees"), [("efficientnet-lite2", "images"), ("minilm", "texts"), ("hashed", "texts")])
def test_the_encoders_in_packages_behave_as_pinned_and_say_so_quickly(name: str, sees: Sees) -> None:
    encoders.load(name, sees).encode([])
    attest(name, sees)
    started = time.process_time()
    assert attest(name, sees).name == name
    assert time.process_time() - started < 2


def test_another_rounding_is_no_other_behaviour_and_another_model_is() -> None:
    expected = unpack(EXPECTED["minilm"])
    assert pack(expected) == EXPECTED["minilm"]
    rounded = expected + np.random.default_rng(0).integers(-1, 2, expected.shape)
    assert agreement(rounded, expected) > 0.999
    assert agreement(unpack(EXPECTED["hashed"]), expected) < 0.9
    assert agreement(expected[:, :8], expected) == 0
    one_row = expected.copy()
    one_row[3] = -one_row[3]
    assert agreement(one_row, expected) < -0.9


def test_a_swapped_session_is_stopped_before_the_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = encoders.load("efficientnet-lite2", "images")
    true: Any = encoder._session  # type: ignore[attr-defined]

    class Swapped:
        def run(self, names: None, given: dict[str, Any]) -> list[Any]:
            return true.run(names, {"images": np.ascontiguousarray(given["images"][:, ::-1])})  # type: ignore[no-any-return]

    monkeypatch.setitem(encoder.__dict__, "_session", Swapped())
    with pytest.raises(EncoderError, match=r"efficientnet-lite2 for images does not behave .* expected 0.999 or more.*reinstall"):
        dataaudit.scan(folder_of_images(tmp_path / "images"), tmp_path / "out", Settings(serial=True))
    assert not (tmp_path / "out" / "features" / "features").exists()


def test_a_worker_holds_its_own_encoder_to_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = prepare([str(write_shards(corpus(60), tmp_path / "data"))], tmp_path / "out", Settings(serial=True, encoder="hashed"))
    monkeypatch.setattr(type(encoders.load("hashed", "texts")), "encode", lambda self, items: np.eye(len(items), 256, dtype=np.float32))
    with pytest.raises(EncoderError, match="hashed for texts does not behave"):
        extract(found.shards, found.plan, found.cache, Serial())


def test_an_encoder_is_loaded_once_a_worker_and_let_go_where_workers_are_started(tmp_path: Path) -> None:
    data = write_shards(corpus(90), tmp_path / "data", 3)
    found = prepare([str(data)], tmp_path / "out", Settings(encoder="hashed"))
    assert encoders.load.cache_info().currsize == 0
    with local(1) as engine:
        assert [e.rows for e in extract(found.shards, found.plan, found.cache, engine)] == [30, 30, 30]
        assert [n for _, n in engine.map(lambda _: encoders.load.cache_info().misses, ["loads"])] == [1]


def test_what_was_loaded_is_in_the_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAAUDIT_CACHE", str(tmp_path / "graphs"))
    weights = tiny.write(tmp_path)
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    settings = Settings(serial=True, encoder=f"open_clip:{tiny.MODEL}/{weights}")
    audit = dataaudit.scan(folder_of_images(tmp_path / "images"), tmp_path / "out", settings)
    name = f"open_clip:{tiny.MODEL}/{weights}@sha256:{sha256}"
    assert audit.summary["settings"]["encoder"] == name
    told = audit.summary["versions"]["encoders"][f"{name} (images)"]
    assert told["sha256"] == sha256
    assert "onnxruntime" in told["runs_on"]
    assert len(told["behaviour"]) == 16


def test_the_same_weights_again_are_welcome(scanned: Any, tmp_path: Path) -> None:
    weights = tiny.write(tmp_path)
    first = scanned(weights)
    encoders.load.cache_clear()
    assert scanned(weights) == first
    # Under another name, as under a pin, other weights are another encoder.
    assert scanned(tiny.write(tmp_path, "other.safetensors", seed=1)).attested != first.attested


def test_changed_weights_stop_the_next_scan_and_say_what_to_do(scanned: Any, tmp_path: Path) -> None:
    first = scanned(tiny.write(tmp_path))
    changed = tiny.write(tmp_path, visual_proj=1.0001)
    with pytest.raises(
        EncoderError, match=f"have SHA-256 .*expected {first.attested[0].sha256}.*or, if the change was meant, delete"
    ) as told:
        scanned(changed)
    for path in first.cache.encoders.glob("*.json"):
        if str(path) in str(told.value):
            path.unlink()
    assert scanned(changed).attested[0].sha256 != first.attested[0].sha256


def test_a_spoilt_graph_of_the_right_weights_is_stopped(scanned: Any, tmp_path: Path) -> None:
    weights = tiny.write(tmp_path)
    scanned(weights)
    [graph] = (tmp_path / "graphs" / "encoders").glob("*.onnx")
    other = parse(f"open_clip:{tiny.MODEL}/{tiny.write(tmp_path, 'other.safetensors', seed=1)}")
    graph.unlink()
    assert towers.export(towers.tower(other, {}, find(other), True), towers.preparation(other, {}), True, graph)
    encoders.load.cache_clear()
    with pytest.raises(EncoderError, match=r"does not behave as it did \(first used with this cache as .*least cosine"):
        scanned(weights)


def test_a_torn_attestation_is_named(scanned: Any, tmp_path: Path) -> None:
    weights = tiny.write(tmp_path)
    for path in scanned(weights).cache.encoders.glob("*.json"):
        path.write_text("{")
    with pytest.raises(EncoderError, match="not a readable attestation"):
        scanned(weights)


def test_an_encoder_that_answers_no_numbers_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        type(encoders.load("hashed", "texts")), "encode", lambda self, items: np.full((len(items), 256), np.nan, dtype=np.float32)
    )
    with pytest.raises(EncoderError, match="does not behave"), np.errstate(invalid="ignore"):
        attest("hashed", "texts")


def test_content_and_target_are_both_attested() -> None:
    pairs = Plan("captioned-images", Columns("image", "caption"), "text", "efficientnet-lite2+minilm", "11" * 16)
    assert encoders.roles(pairs) == [("efficientnet-lite2", "images"), ("minilm", "texts")]
    vectors = Plan("vectors", Columns(None, "label", embedding="v"), "label", "given", "11" * 16)
    assert encoders.roles(vectors) == []
    mails = Plan("labelled-text", Columns("text", "label"), "label", "hashed", "11" * 16)
    assert encoders.roles(mails) == [("hashed", "texts")]
    assert behaviour(encoders.load("hashed", "texts"), "texts").shape == (12, 16)
