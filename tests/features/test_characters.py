from __future__ import annotations

from dataaudit.features import Batch
from dataaudit.features.characters import CLASSES, Characters, pairs
from dataaudit.model import Columns, Plan, Sample


def codes(content: str, target: str | None, kind: str) -> list[int]:
    plan = Plan("instructions" if kind == "text" else "text", Columns("x"), kind, "hashed", "11" * 16)  # type: ignore[arg-type]
    (row,) = Characters().compute(Batch([Sample("0", "0", content, target, 0, 1)], plan)).to_pylist()
    return list(row)


def test_the_response_is_judged_where_there_is_one_else_the_content() -> None:
    assert codes("ab", "xy", "text") == [ord("x") * CLASSES + ord("y")]
    assert codes("ab", None, "none") == [ord("a") * CLASSES + ord("b")]


def test_a_repeated_pair_counts_once_and_a_single_character_has_none() -> None:
    assert len(codes("aaaaaaa", None, "none")) == 1
    assert codes("a", None, "none") == []


def test_other_alphabets_do_not_collide_with_ascii() -> None:
    assert (pairs("дом") >> 8).min() >= 128
