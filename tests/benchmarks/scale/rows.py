"""The rows: what is measured, by whom, and when a peer's result is as good as ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.benchmarks.scale import inputs, judging
from tests.benchmarks.scale.inputs import Prepare
from tests.benchmarks.scale.judging import Found, Judge
from tests.benchmarks.text.duplicates import UNIT

PEERS = Path(__file__).parents[1] / "peers"


@dataclass(frozen=True)
class Contender:
    """A way to do it: what is run behind the interpreter, with `{input}` and `{out}` filled in, and then the settings.

    Each setting is another result of one process.  Who stands `beside` does not do the whole of the same work, or not as it is usually
    done: it is run once and has no part in the ratio.
    """

    name: str
    command: tuple[str, ...]
    settings: tuple[str, ...] = ()
    ours: bool = False
    beside: bool = False


@dataclass(frozen=True)
class Row:
    """`size` items; a peer counts where its accuracy is `least` or, without that, ours less `tolerance`; `goal` is the ratio promised.

    It was promised beside the best peer, or the best of those whose names begin as `goal_beside` says.  `agrees` compares a peer's
    result with ours.
    """

    name: str
    unit: str
    size: int
    prepare: Prepare
    judge: Judge
    contenders: tuple[Contender, ...]
    goal: float | None = None
    goal_beside: tuple[str, ...] = ()
    least: float | None = None
    tolerance: float = 0.005
    agrees: Callable[[Found, Found], Mapping[str, float]] | None = None
    about: str = ""


def ours(row: str, *more: str, name: str = "ours", settings: tuple[str, ...] = (), beside: bool = False) -> Contender:
    """This project's part in a row."""
    return Contender(name, ("-m", "tests.benchmarks.scale.ours", row, "{input}", "{out}", *more), settings, ours=True, beside=beside)


def peer(name: str, script: str, *more: str, settings: tuple[str, ...] = (), beside: bool = False) -> Contender:
    """A peer's script."""
    return Contender(name, (str(PEERS / script), "{input}", "{out}", *more), settings, beside=beside)


def graphs(factories: tuple[str, ...], hnsw: tuple[str, ...], usearch: tuple[str, ...], descent: tuple[str, ...]) -> tuple[Contender, ...]:
    """The libraries that look for neighbours, each with its settings."""
    return (
        ours("knn", "warm"),
        ours("knn", "cold", name="ours, cold", beside=True),
        ours("knn", "warm", name="ours, other probes", settings=("64", "80", "96"), beside=True),
        *(peer(f"faiss {name.partition('@')[0]}", "graph_faiss.py", settings=tuple(name.split())) for name in factories),
        peer("hnswlib", "graph_hnswlib.py", settings=hnsw),
        peer("usearch", "graph_usearch.py", settings=usearch),
        peer("pynndescent", "graph_pynndescent.py", "warm", settings=descent),
        peer("pynndescent, cold", "graph_pynndescent.py", "cold", settings=descent[:1], beside=True),
    )


SMALL_GRAPHS = graphs(
    ("Flat@0", "IVF512,Flat@8 IVF512,Flat@16 IVF512,Flat@32 IVF512,Flat@64", "HNSW16@16 HNSW16@32 HNSW16@64 HNSW16@128"),
    ("50@32", "50@64", "50@128", "100@32", "100@64", "200@32", "200@64"),
    ("bf16-64@64", "bf16-64@128", "bf16-128@64", "bf16-128@128", "f32-128@64"),
    ("21", "25", "30", "40"),
)
LARGE_GRAPHS = graphs(
    ("IVF2048,Flat@8 IVF2048,Flat@16 IVF2048,Flat@32", "HNSW16@32 HNSW16@64 HNSW16@128"),
    ("50@64", "50@128", "100@64", "100@128"),
    ("bf16-64@64", "bf16-64@128", "bf16-128@128"),
    ("21", "25", "30", "40"),
)
JPEGS = (ours("jpeg"), peer("Pillow", "jpeg_pillow.py"))
OURS_JOINED = ("-m", "tests.benchmarks.text.duplicates", "--run", "dataaudit", "{input}", "{out}")

ROWS = (
    Row(
        "tar",
        "samples",
        200_000,
        inputs.read_tars,
        judging.same,
        (ours("tar"), peer("webdataset", "tar_read.py", "webdataset"), peer("tarfile", "tar_read.py", "tarfile")),
        goal=15,
        goal_beside=("webdataset",),
        about="CIFAR-10's tars four times over: keys, bytes, labels; ours also makes the shard's SHA-256; imports not measured",
    ),
    Row(
        "image-hash",
        "images",
        50_000,
        inputs.hashed_pictures,
        judging.recognised,
        (ours("image-hash"), peer("imagehash", "image_hash.py")),
        goal=4,
        tolerance=0.02,
        about="JPEG bytes in memory to 64 bits; accuracy: share within 4 bits after JPEG of quality 50",
    ),
    Row(
        "jpeg-32",
        "images",
        50_000,
        inputs.pictures,
        judging.same,
        JPEGS,
        about="CIFAR-10's JPEG files in memory to RGB arrays",
    ),
    Row(
        "jpeg-256",
        "images",
        3_000,
        partial(inputs.pictures, side=256),
        judging.same,
        JPEGS,
        about="the same enlarged to 256 pixels a side, quality 90",
    ),
    Row(
        "knn-50k-512",
        "points",
        50_000,
        inputs.points_of_pictures,
        judging.recall,
        SMALL_GRAPHS,
        goal=2,
        goal_beside=("faiss", "hnswlib"),
        least=0.985,
        about="20 nearest others of every point, index and search; compiled before the clock starts unless cold; recall of 2,000 points",
    ),
    Row(
        "knn-500k-128",
        "points",
        500_000,
        inputs.points_of_crops,
        judging.recall,
        LARGE_GRAPHS,
        goal=1.5,
        least=0.97,
        about="the same of crops' embeddings; without exact search, which takes too long",
    ),
    Row(
        "datalab",
        "rows",
        50_000,
        inputs.labelled_points,
        judging.ranked,
        (ours("datalab"), peer("cleanlab Datalab", "datalab_scores.py")),
        goal=8,
        least=0.0,
        agrees=judging.agreement,
        about="label, outlier and near-duplicate scores of features and labels; accuracy: AUROC of the label score for 2 % changed labels, "
        "which decides nothing; `agrees` are rank correlations with ours",
    ),
    Row(
        "near-duplicates",
        "documents",
        200_000,
        inputs.documents,
        judging.joined,
        (Contender("ours", OURS_JOINED, ours=True), peer("rensa", "rensa_pairs.py", str(UNIT.jaccard - UNIT.error))),
        goal=3,
        tolerance=0.02,
        about="the whole process, imports too, from Parquet to pairs; accuracy: recall of copies with a similarity of 0.5 or more, "
        "of which a peer may have 0.02 less",
    ),
    Row(
        "signatures",
        "documents",
        200_000,
        inputs.documents,
        judging.estimated,
        (
            ours("signatures"),
            peer("datasketch", "signatures.py", "datasketch"),
            peer("rensa", "signatures.py", "rensa"),
            peer("rensa, shingles ready", "signatures.py", "rensa-ready", beside=True),
        ),
        tolerance=0.01,
        about="texts in memory to 128 values; accuracy: 1 less the mean error of the similarity of copies",
    ),
    Row(
        "parquet",
        "samples",
        250_000,
        inputs.read_parquet,
        judging.same,
        (
            ours("parquet"),
            peer("pyarrow, objects", "parquet_read.py", "objects"),
            peer("pyarrow, columns only", "parquet_read.py", "views", beside=True),
        ),
        goal=1,
        about="CIFAR-10's JPEG files in row groups of 1,000, five times over; ours also makes the shard's SHA-256",
    ),
    Row(
        "dask",
        "",
        0,
        inputs.nothing,
        judging.unjudged,
        (ours("dask"),),
        about="two workers; processor seconds and memory of all processes together",
    ),
)
