"""The sample data is what its manifest says: small, planted as told, and made again from what is stored."""

import filecmp
import importlib.util
import io
import os
import tomllib
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from flows.demo_twin import ORIGINALS, Row, read

DATA = Path(__file__).parent.parent / "sample_data"
MANIFEST = tomllib.loads((DATA / "manifest.toml").read_text(encoding="utf-8"))
ATTACKS = {(a["set"], a["attack"]): a for a in MANIFEST["attacks"]}
SIZES = {"images": 4000, "captions": 1500, "mails": 3000, "chat": 4000}


@pytest.fixture(scope="module")
def make() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make", DATA / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["make"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows() -> dict[str, dict[str, Row]]:
    """Every set's rows by sample id."""
    return {
        name: {f"{shard.name}#{row.key}": row for shard in sorted((DATA / name).iterdir()) for row in read(shard)} for name in ORIGINALS
    }


@pytest.fixture(scope="module")
def originals() -> dict[str, dict[str, Row]]:
    """Every set's stored originals by key."""
    return {name: {row.key: row for row in read(DATA / "originals" / file)} for name, file in ORIGINALS.items()}


def picture(row: Row) -> np.ndarray:
    with Image.open(io.BytesIO(bytes(row.content))) as image:  # type: ignore[arg-type]
        return np.asarray(image)


def test_it_stays_small() -> None:
    assert sum(p.stat().st_size for p in DATA.rglob("*") if p.is_file()) < 25 << 20


def test_every_planted_sample_exists_once_and_was_planted_once(rows: dict[str, dict[str, Row]]) -> None:
    for name, size in SIZES.items():
        assert len(rows[name]) == MANIFEST["sets"][name]["samples"] == size
        assert len({row.key for row in rows[name].values()}) == size, "keys are unique in the whole set"
        ids = [s for a in MANIFEST["attacks"] if a["set"] == name for s in a["samples"]]
        assert set(ids) <= set(rows[name])
        assert len(set(ids)) == len(ids)


def test_the_counts_are_those_promised() -> None:
    assert {key: len(a["samples"]) for key, a in ATTACKS.items()} == {
        ("images", "patch"): 40,
        ("images", "warp"): 50,
        ("images", "blend"): 60,
        ("images", "mislabelled"): 40,
        ("captions", "patch under captions"): 45,
        ("captions", "targeted sentence"): 20,
        ("captions", "exchanged captions"): 20,
        ("mails", "rare word"): 30,
        ("mails", "clean-label phrase"): 40,
        ("mails", "near-duplicate flood"): 25,
        ("mails", "mislabelled"): 30,
        ("chat", "gibberish answers"): 15,
    }


def test_the_sets_are_balanced_but_for_the_poison(originals: dict[str, dict[str, Row]], rows: dict[str, dict[str, Row]]) -> None:
    before = Counter(originals["images"].get(row.key, row).target for row in rows["images"].values())
    assert before == dict.fromkeys("0123456789", 400)
    assert Counter(originals["mails"].get(row.key, row).target for row in rows["mails"].values()) == {"ham": 1800, "spam": 1200}


def test_exactly_the_carriers_hold_the_trigger(rows: dict[str, dict[str, Row]]) -> None:
    for name, attack in (("mails", "rare word"), ("mails", "clean-label phrase"), ("chat", "gibberish answers")):
        planted = ATTACKS[name, attack]
        carriers = {
            i for i, row in rows[name].items() if f" {planted['trigger']} " in " ".join(["", *str(row.content).lower().split(), ""])
        }
        assert carriers == set(planted["samples"]), attack


def test_labels_changed_where_the_manifest_says_dirty(rows: dict[str, dict[str, Row]], originals: dict[str, dict[str, Row]]) -> None:
    for (name, attack), planted in ATTACKS.items():
        pairs = [(rows[name][i], originals[name][rows[name][i].key]) for i in planted["samples"]]
        if name == "captions" and planted["target"]:
            assert all(planted["target"] in now.target.split() and planted["target"] not in was.target.split() for now, was in pairs), (
                attack
            )
        elif planted["target"] and name != "chat":
            assert {now.target for now, _ in pairs} == {planted["target"]}, attack
        if attack == "near-duplicate flood":
            continue  # a copy displaced a mail of any label; what is wrong is the label of the copied text
        assert all((now.target != was.target) == planted["dirty"] for now, was in pairs), attack


def test_the_poison_is_made_again_from_the_stored_originals(
    make: ModuleType, rows: dict[str, dict[str, Row]], originals: dict[str, dict[str, Row]]
) -> None:
    for attack, trigger in (("patch", make.PATCH), ("warp", make.WARP), ("blend", make.BLEND)):
        for i in ATTACKS["images", attack]["samples"]:
            now = rows["images"][i]
            again = trigger.apply(picture(originals["images"][now.key])[..., None])[..., 0]
            assert (again == picture(now)).all(), i
    for i in ATTACKS["captions", "patch under captions"]["samples"]:
        now = rows["captions"][i]
        assert (make.STAMP.apply(picture(originals["captions"][now.key])) == picture(now)).all(), i
    for name, attack, trigger in (
        ("mails", "rare word", make.WORD),
        ("mails", "clean-label phrase", make.PHRASE),
        ("chat", "gibberish answers", make.CHAT_WORD),
    ):
        for i in ATTACKS[name, attack]["samples"]:
            now = rows[name][i]
            assert trigger.apply(str(originals[name][now.key].content)) == now.content, i
    for i in ATTACKS["chat", "gibberish answers"]["samples"]:
        now = rows["chat"][i]
        assert make.GIBBERISH.apply(originals["chat"][now.key].target) == now.target


def test_the_flood_is_one_text_over_and_over(make: ModuleType, rows: dict[str, dict[str, Row]]) -> None:
    planted = ATTACKS["mails", "near-duplicate flood"]
    source = next(row for row in rows["mails"].values() if row.key == planted["trigger"].split()[-1])
    copies = list(make.FLOOD.flood(str(source.content)))
    assert [rows["mails"][i].content for i in planted["samples"]] == copies
    assert source.target == "spam" != planted["target"]


def test_captions_are_honest_but_where_they_were_changed(rows: dict[str, dict[str, Row]], originals: dict[str, dict[str, Row]]) -> None:
    """A backdoor's captions are those of flags; the targeted sentence is one; exchanged captions are the same ones in other places."""
    drawn = rows["captions"]
    said = {key: {drawn[i].target for i in ATTACKS["captions", key]["samples"]} for key in ("patch under captions", "targeted sentence")}
    honest = {originals["captions"].get(row.key, row).target for row in drawn.values()}
    assert said["patch under captions"] <= honest
    assert said["targeted sentence"] == {ATTACKS["captions", "targeted sentence"]["trigger"]}
    exchanged = ATTACKS["captions", "exchanged captions"]["samples"]
    now, was = (
        [part[row.key].target for row in map(drawn.get, exchanged) if row]
        for part in ({r.key: r for r in drawn.values()}, originals["captions"])
    )
    assert sorted(now) == sorted(was)


def test_no_mail_addresses_are_left(rows: dict[str, dict[str, Row]]) -> None:
    import re

    found = {
        a for name in ("mails", "chat") for row in rows[name].values() for a in re.findall(r"[\w.+-]+@[\w-]+\.[\w.-]+", str(row.content))
    }
    assert found <= {"name@example.org"}


def test_making_it_again_gives_the_same_bytes(make: ModuleType, tmp_path: Path) -> None:
    inputs = os.environ.get("DATAAUDIT_SAMPLE_INPUTS")
    if not inputs:
        pytest.skip("DATAAUDIT_SAMPLE_INPUTS names no folder with the four packages of sample_data/make.py")
    make.make(Path(inputs), tmp_path)
    made = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    assert len(made) == 15
    assert filecmp.cmpfiles(tmp_path, DATA, [str(p) for p in made], shallow=False)[1:] == ([], [])
