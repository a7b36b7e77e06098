"""The feature tables of pairs, as the extract stage would write them.

Those of clean pictures are the files that the image benchmark keeps (`images.feature_tables`), since an encoder sees a picture
as it is, whatever is said of it.  The captions' vectors lie beside them; other columns of captions depend on the salt and are
kept by seed.  A caption's features may not look at its picture here: where one ever does, it gets a batch without images.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import pyarrow as pa

from dataaudit import features
from dataaudit.discovery import source_digest
from dataaudit.features import Batch
from dataaudit.features.table import available
from dataaudit.model import Columns, Plan, Sample, fingerprint
from tests.benchmarks.captions.datasets import Captioned
from tests.benchmarks.images import feature_tables as of_images

ENCODER = f"{of_images.ENCODER}+minilm"
SLOW = "target_embedding"


def plan_for(seed: int) -> Plan:
    """The plan of an audit of such data; the seed is the salt."""
    return Plan("captioned-images", Columns("png", "txt"), "text", ENCODER, f"{seed:032x}")


def own_columns(plan: Plan) -> list[str]:
    """The features that images without captions do not have."""
    return [name for name in available(plan.modality) if name not in available("labelled-images")]


def tabulated(captions: Sequence[str], plan: Plan, only: Sequence[str] | None = None) -> pa.Table:
    """The features of captions."""
    batch = Batch([Sample("", "", None, caption, 0, 0) for caption in captions], plan)
    known = available(plan.modality)
    return pa.table({name: known[name].compute(batch) for name in (own_columns(plan) if only is None else only)})


def clean_tables(data: Captioned, plan: Plan, cache: Path) -> tuple[pa.Table, pa.Table]:
    """The features of the clean pictures and of their captions, memory-mapped; what was not prepared is computed now."""
    quick = [name for name in own_columns(plan) if name != SLOW]
    tables = []
    for number in range(of_images.chunks(data.images)):
        _, slow = prepare(data, number, cache)
        path = chunk_path(data, number, cache, f"{plan.salt[-4:]}-{source_digest('dataaudit.features')}")
        if not path.exists():
            of_images.write(tabulated(_said(data, number), plan, quick), path)
        table = of_images.mapped(path)
        tables.append(table.append_column(SLOW, of_images.mapped(slow).column(SLOW)))
    return of_images.clean_table(data.images, cache), pa.concat_tables(tables).slice(0, len(data.captions))


def prepare(data: Captioned, number: int, cache: Path) -> tuple[tuple[Path, Path], Path]:
    """Compute what is slow of one chunk where it is not there yet; where it lies."""
    paths = of_images.prepare(data.images, number, cache), chunk_path(data, number, cache, embedding_code())
    if not paths[1].exists():
        of_images.write(tabulated(_said(data, number), plan_for(0), (SLOW,)), paths[1])
    return paths


def prepared(data: Captioned, number: int, cache: Path) -> bool:
    """Whether nothing slow of a chunk is missing."""
    return all(p.exists() for p in (*of_images.chunk_paths(data.images, number, cache), chunk_path(data, number, cache, embedding_code())))


def chunk_path(data: Captioned, number: int, cache: Path, what: str) -> Path:
    """Where a part of a chunk's features of captions lies."""
    rows = of_images.chunk_rows(data.images, number)
    return cache / "caption-features" / f"{data.images.name}-{data.version}" / f"{rows.start:06d}-{rows.stop:06d}-{what}.arrow"


def _said(data: Captioned, number: int) -> list[str]:
    return [data.captions[i] for i in of_images.chunk_rows(data.images, number)]


@lru_cache(maxsize=1)
def embedding_code() -> str:
    """A digest of the code that makes a caption's vector: other features may change without making it anew."""
    root = Path(features.__path__[0])
    return fingerprint(ENCODER, *((root / name).read_text() for name in ("embedding.py", "target_embedding.py", "encoders/text.py")))
