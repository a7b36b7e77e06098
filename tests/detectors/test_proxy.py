"""Pictures apart in a proxy's space come first; honest ones call nobody."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from dataaudit.aggregates.proxy_density import ProxyDensity
from dataaudit.detectors.proxy import Proxy
from dataaudit.features.embedding import quantise, to_column
from dataaudit.model import Columns, Plan
from tests.aggregates.pair_tables import content, cut
from tests.detectors.scanned import scanned

PLAN = Plan("captioned-images", Columns("jpg", "txt"), "text", "given+hashed", "00" * 16, "a proxy")
ROWS, WIDTH = 1_200, 16
SMALL = Proxy(least=500)


def table(apart: int = 0) -> pa.Table:
    """What a proxy sees: one cloud, and in its first rows a small one elsewhere."""
    rng = np.random.default_rng(0)
    rank = rng.permutation(np.arange(ROWS, dtype=np.uint64) * np.uint64(0x9E3779B9))
    pictures = rng.normal(size=(1, WIDTH)) + 0.3 * rng.normal(size=(ROWS, WIDTH))
    pictures[:apart] = rng.normal(size=(1, WIDTH)) + 0.1 * rng.normal(size=(apart, WIDTH))
    return pa.table(
        {
            "proxy_embedding": to_column(quantise(pictures)),
            "target": pa.array(["something"] * ROWS),
            "digest": pa.array([f"{i:032x}" for i in range(ROWS)]),
            "rank": pa.array(rank, pa.uint64()),
        }
    )


def views_of(*parts: pa.Table) -> dict[str, Any]:
    unit = ProxyDensity(references=1_000)
    state = unit.start(parts[0], {})
    for part in parts[1:]:
        state = unit.merge(state, unit.start(part, {}))
    return {"plan": PLAN, "proxy_density": unit.finish(state, {})}


def test_forty_pictures_that_lie_together_and_apart_come_first() -> None:
    whole = table(apart=40)
    findings, scores = scanned(SMALL, [whole], views_of(whole), [("", "")] * ROWS)
    assert set(np.argsort(-scores.score)[:40]) == set(range(40))
    (found,) = findings
    assert (found.kind, found.severity) == ("outlier", "low")
    assert found.count >= 30


def test_a_cloud_calls_nobody() -> None:
    whole = table()
    findings, scores = scanned(SMALL, [whole], views_of(whole), [("", "")] * ROWS)
    assert not findings
    assert scores.score.max() < 0.5


def test_few_pairs_are_not_judged_and_that_is_said() -> None:
    whole = table(apart=40)
    views = views_of(whole.slice(0, 300))
    assert not SMALL.score(whole, views).score.any()
    assert "fewer than 500" in (SMALL.blind(views) or "")
    assert SMALL.blind(views_of(whole)) is None


def test_any_sharding_gives_the_same_view_and_scores() -> None:
    whole = table(apart=40)
    views = views_of(whole)
    other = views_of(*cut(whole, [10, 500, 777], random.Random(3)))
    for name, value in content(views["proxy_density"]).items():
        assert np.array_equal(value, content(other["proxy_density"])[name]), name
    assert np.array_equal(SMALL.score(whole, views).score[600:650], SMALL.score(whole.slice(600, 50), views).score)


def test_it_runs_where_there_is_a_proxy() -> None:
    assert SMALL.unavailable(PLAN) is None
    assert SMALL.unavailable(replace(PLAN, modality="labelled-images", target_kind="label")) is None
    assert SMALL.unavailable(replace(PLAN, proxy="")) == "no proxy was asked for (--proxy)"
    assert "labels" in (SMALL.unavailable(replace(PLAN, modality="text", target_kind="none")) or "")
