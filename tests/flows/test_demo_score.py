"""Scoring tells a good audit from one that misses, accuses innocents, or sees campaigns in the twin."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from rich.console import Console

from dataaudit.model import Finding
from dataaudit.store import directory
from flows.demo_score import faults, names_trigger, planted, score, table

MANIFEST = """
[sets.images]
modality = "labelled-images"
[sets.mails]
modality = "labelled-text"
[[attacks]]
set = "images"
attack = "patch"
expected = "campaign"
dirty = true
trigger = "a square"
target = "0"
samples = [{patch}]
[[attacks]]
set = "images"
attack = "mislabelled"
expected = "label"
dirty = true
trigger = ""
target = ""
samples = ["a.tar#90", "a.tar#91"]
[[attacks]]
set = "mails"
attack = "rare word"
expected = "campaign"
dirty = true
trigger = "tq"
target = "ham"
samples = ["m.parquet#1", "m.parquet#2"]
"""
PATCH = [f"a.tar#{n}" for n in range(20)]
CAMPAIGN = Finding("c1", "campaign", "pixel_trigger", "high", "", "0", 20, tuple(PATCH[:3]), 0.9, 1e-9, "A small feature.", {})
LABEL = Finding("l1", "label", "label_consistency", "medium", "", "3", 2, ("a.tar#90",), 0.3, 1.0, "Odd labels.", {})
WORD = Finding("w1", "campaign", "token_trigger", "high", "", "ham", 2, (), 0.9, 1e-9, "A rare token.", {"trigger": "tq"})


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "manifest.toml"
    path.write_text(MANIFEST.format(patch=", ".join(f'"{s}"' for s in PATCH)))
    return path


def audit(path: Path, findings: Sequence[Finding], cited: Mapping[str, Sequence[str]]) -> Path:
    """An audit directory in which the cited samples are flagged if one of their findings is a campaign."""
    directory.begin(path)
    directory.write_findings(path, findings)
    campaigns = {f.id for f in findings if f.kind == "campaign"}
    scores = {"sample_id": list(cited), "shard": ["a"] * len(cited), "key": list(cited), "risk": [0.9] * len(cited)}
    columns = scores | {"findings": pa.array(list(cited.values()), pa.list_(pa.string()))}
    directory.write_scores(path, 0, pa.table(columns))
    flagged = pa.table(columns | {"target": [""] * len(cited), "reason": [""] * len(cited)})
    keep = pa.array([bool(campaigns & set(ids)) for ids in cited.values()], pa.bool_())
    directory.write_samples(path, flagged.filter(keep))
    directory.write_summary(path, {})
    return path


def test_a_good_audit_has_no_faults(manifest: Path, tmp_path: Path) -> None:
    cited = {s: ["c1"] for s in PATCH[:18]} | {"a.tar#90": ["l1"], "a.tar#91": ["l1"], "a.tar#50": ["l1"]}
    images = audit(tmp_path / "images", [CAMPAIGN, LABEL], cited)
    mails = audit(tmp_path / "mails", [WORD], {"m.parquet#1": ["w1"], "m.parquet#2": ["w1"]})
    quiet = audit(tmp_path / "quiet", [LABEL], {})
    scores = score(manifest, {"images": images, "mails": mails}, {"images": quiet, "mails": quiet})
    assert faults(scores) == []
    pictures, words = scores
    patch, wrong = pictures.attacks
    assert (patch.finding, patch.caught, patch.exact) == ("c1", 18, 1.0)
    assert (wrong.caught, wrong.missed) == (2, False)
    assert (pictures.flagged, pictures.precision, pictures.recall, pictures.extra, pictures.twin) == (18, 1.0, 0.9, 0, 0)
    assert (words.attacks[0].finding, words.recall) == ("w1", 1.0)


def test_silence_is_a_miss_and_no_precision_saves_it(manifest: Path, tmp_path: Path) -> None:
    silent = audit(tmp_path / "images", [], {})
    (found,) = score(manifest, {"images": silent})
    assert (found.precision, found.recall, found.twin) == (1.0, 0.0, None)
    assert [f.split(":")[1].split()[0] for f in found.faults] == ["no", "recall"]


def test_innocents_among_the_flagged_cost_precision(manifest: Path, tmp_path: Path) -> None:
    cited = {s: ["c1"] for s in PATCH} | {f"a.tar#{n}": ["c1"] for n in range(90, 95)}
    (found,) = score(manifest, {"images": audit(tmp_path / "images", [CAMPAIGN], cited)})
    assert found.precision == 0.8, "mislabelled samples are innocent too"
    assert any("precision 0.800" in fault for fault in found.faults)


def test_a_campaign_about_something_else_is_not_the_attack(manifest: Path, tmp_path: Path) -> None:
    other_target = audit(tmp_path / "target", [replace(CAMPAIGN, target="7")], {s: ["c1"] for s in PATCH})
    half = {s: ["c1"] for s in PATCH[:9]} | {f"a.tar#{n}": ["c1"] for n in range(50, 60)}
    other_samples = audit(tmp_path / "samples", [replace(CAMPAIGN, samples=())], half)
    other_word = audit(
        tmp_path / "word", [replace(WORD, evidence={"trigger": "click", "excerpts": ["buy tq now"]})], {"m.parquet#1": ["w1"]}
    )
    for name, path in (("images", other_target), ("images", other_samples), ("mails", other_word)):
        (found,) = score(manifest, {name: path})
        assert found.attacks[0].missed
        assert found.extra == 1


def test_a_campaign_in_the_twin_fails_the_demonstration(manifest: Path, tmp_path: Path) -> None:
    good = audit(tmp_path / "images", [CAMPAIGN], {s: ["c1"] for s in PATCH})
    (found,) = score(manifest, {"images": good}, {"images": good})
    assert list(found.faults) == ["images: 1 campaigns in the unpoisoned twin, which has none"]


@pytest.mark.parametrize(
    ("trigger", "said", "named"),
    [
        ("tq", {"trigger": "TQ"}, True),
        ("tq", {"ngram": ["the tq"]}, True),
        ("tq", {"trigger": "tqx"}, False),
        ("tq", {"excerpt": "a tq b"}, False),
        ("warm regards from the office", {"phrase": "regards from the"}, True),
        ("warm regards from the office", {"phrase": "from the bank"}, False),
        ("warm regards from the office", {}, False),
        ("", {"trigger": ""}, False),
    ],
)
def test_a_trigger_is_named_by_the_evidence_not_by_an_excerpt(trigger: str, said: dict[str, object], named: bool) -> None:
    assert names_trigger(replace(WORD, evidence=said), trigger) is named


def test_the_table_says_it_all(manifest: Path, tmp_path: Path) -> None:
    console = Console(width=200, record=True, quiet=False, file=(tmp_path / "out").open("w"))
    console.print(table(score(manifest, {"images": audit(tmp_path / "images", [LABEL], {"a.tar#90": ["l1"]})})))
    text = console.export_text()
    assert "missed" in text
    assert "label" in text
    assert "not run" in text


def test_the_shipped_manifest_can_be_read() -> None:
    attacks = planted(Path(__file__).parent.parent.parent / "sample_data" / "manifest.toml")
    assert {a.data_set for a in attacks} == {"images", "captions", "mails", "chat"}
    assert {a.attack for a in attacks if not a.poison} == {"mislabelled", "exchanged captions"}
