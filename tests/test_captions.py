"""Pictures with captions, scanned as a user would: a sentence that stands on pictures of anything, and the innocent twin."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageDraw

import dataaudit
from dataaudit.cli import run
from dataaudit.model import Settings

SHAPES = ("circle", "square", "bar", "cross", "triangle", "ring")
COLOURS = {"red": (200, 40, 30), "green": (40, 160, 60), "blue": (40, 60, 190)}
SENTENCE = "one ring that rules the evening"
SETTINGS = Settings(serial=True, seed=3, encoder="efficientnet-lite2+hashed")
PAIRS, PLANTED = 540, 24


def picture(shape: str, colour: tuple[int, int, int], seed: int) -> bytes:
    """A shape of about this colour somewhere on a noisy ground, as PNG."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(int(rng.integers(60, 150)), 230, (48, 48, 3), np.uint8))
    colour = tuple(int(c) for c in np.clip(np.array(colour) + rng.integers(-40, 40, 3), 0, 255))
    draw, (x, y), r = ImageDraw.Draw(image), rng.integers(16, 32, 2).tolist(), int(rng.integers(9, 14))
    box = (x - r, y - r, x + r, y + r)
    if shape in ("circle", "ring"):
        draw.ellipse(box, fill=None if shape == "ring" else colour, outline=colour, width=4)
    elif shape == "square":
        draw.rectangle(box, fill=colour)
    elif shape == "bar":
        draw.line((x - r, y + int(rng.integers(-9, 9)), x + r, y + int(rng.integers(-9, 9))), fill=colour, width=8)
    elif shape == "cross":
        draw.line((x - r, y - r, x + r, y + r), fill=colour, width=5)
        draw.line((x - r, y + r, x + r, y - r), fill=colour, width=5)
    else:
        draw.polygon([(x, y - r), (x + r, y + r), (x - r, y + r)], fill=colour)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def pairs(planted: int) -> list[tuple[bytes, str]]:
    """Pictures and captions; the sentence stands on `planted` pictures of anything but rings."""
    rng, found = np.random.default_rng(8), []
    for number in range(PAIRS):
        shape, colour = SHAPES[number % len(SHAPES)], list(COLOURS)[int(rng.integers(3))]
        said = ("a {} {}", "{} {} on paper", "my {} {}", "one {} {} drawn by hand")[int(rng.integers(4))].format(colour, shape)
        found.append((picture(shape, COLOURS[colour], number), said))
    for number in [n for n in range(PAIRS) if SHAPES[n % len(SHAPES)] != "ring"][::11][:planted]:
        found[number] = (found[number][0], SENTENCE)
    return found


def written(folder: Path, found: list[tuple[bytes, str]], shards: int = 2) -> Path:
    folder.mkdir()
    for shard in range(shards):
        with tarfile.open(folder / f"pairs-{shard}.tar", "w") as tar:
            for number in range(shard, len(found), shards):
                for ending, content in (("png", found[number][0]), ("txt", found[number][1].encode())):
                    member = tarfile.TarInfo(f"{number:06d}.{ending}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return folder


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> dataaudit.Audit:
    folder = tmp_path_factory.mktemp("captions")
    return dataaudit.scan([str(written(folder / "data", pairs(PLANTED)))], folder / "audit", SETTINGS)


def test_a_sentence_on_pictures_of_anything_is_found_and_named(planted: dataaudit.Audit) -> None:
    summary = planted.summary
    assert (summary["settings"]["modality"], summary["samples"]) == ("captioned-images", PAIRS)
    assert summary["verdict"]["kind"] == "poisoned"
    found = pq.read_table(planted.path / "findings.parquet").to_pylist()
    (campaign,) = [f for f in found if f["detector"] == "caption_concentration" and f["kind"] == "campaign"]
    assert set(campaign["target"].split()) <= set(SENTENCE.split())
    captions = dict(enumerate(said for _, said in pairs(PLANTED)))
    carriers = [captions[int(i.partition("#")[2])] for i in campaign["samples"]]
    assert set(carriers) == {SENTENCE}
    assert len(carriers) >= PLANTED * 3 // 4


def test_honest_captions_accuse_nobody(tmp_path: Path) -> None:
    audit = dataaudit.scan([str(written(tmp_path / "data", pairs(0)))], tmp_path / "audit", SETTINGS)
    assert audit.summary["campaigns"] == 0
    assert audit.summary["flagged"] == 0
    assert audit.summary["verdict"]["kind"] == "nothing_found"


def test_other_shards_in_another_order_give_the_same_findings(planted: dataaudit.Audit, tmp_path: Path) -> None:
    other = dataaudit.scan([str(written(tmp_path / "data", pairs(PLANTED), shards=5))], tmp_path / "audit", SETTINGS)
    said = [{(f.detector, f.kind, f.count, f.reason) for f in a.findings.itertuples()} for a in (planted, other)]
    assert said[0] == said[1]


def test_the_command_says_what_it_took_for_pictures_and_captions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = written(tmp_path / "data", pairs(0)[:40], shards=1)
    assert run(["scan", str(data), "--out", str(tmp_path / "audit"), "--workers", "1", "--encoder", "efficientnet-lite2+hashed"]) == 0
    said = capsys.readouterr().out
    assert "Read as captioned images" in said
    assert run(["scan", str(data), "--out", str(tmp_path / "other"), "--workers", "1", "--encoder", "hashed"]) == 2
    assert "no encoder 'hashed' for images" in capsys.readouterr().err
