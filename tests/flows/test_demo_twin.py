"""The unpoisoned twin differs from the sample data at the planted samples, and nowhere else."""

import tomllib
from pathlib import Path

import pytest

from dataaudit.errors import SourceError
from flows.demo_twin import ORIGINALS, Row, read, twin, twins, write

DATA = Path(__file__).parent.parent.parent / "sample_data"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return twins(DATA, tmp_path_factory.mktemp("twins"))


@pytest.mark.parametrize("name", ORIGINALS)
def test_the_twin_differs_exactly_at_the_planted_samples(name: str, made: dict[str, Path]) -> None:
    attacks = tomllib.loads((DATA / "manifest.toml").read_text(encoding="utf-8"))["attacks"]
    planted = {sample for attack in attacks if attack["set"] == name for sample in attack["samples"]}
    shards = sorted(p.name for p in (DATA / name).iterdir())
    assert sorted(p.name for p in made[name].iterdir()) == shards
    different = set()
    for shard in shards:
        before, after = read(DATA / name / shard), read(made[name] / shard)
        assert [row.key for row in before] == [row.key for row in after]
        different |= {f"{shard}#{row.key}" for row, other in zip(before, after, strict=True) if row != other}
    assert different == planted


@pytest.mark.parametrize("name", ORIGINALS)
def test_without_planted_samples_the_twin_is_the_set_byte_by_byte(name: str, tmp_path: Path) -> None:
    originals = tmp_path / ORIGINALS[name]
    write(originals, [])
    assert twin(DATA / name, originals, tmp_path / name) == 0
    for shard in (DATA / name).iterdir():
        assert (tmp_path / name / shard.name).read_bytes() == shard.read_bytes()


def test_an_original_without_a_place_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "set" / "a.jsonl", [Row("1", "Who?", "Me.")])
    write(tmp_path / "originals.jsonl", [Row("1", "Who?", "You."), Row("2", "Why?", "Because.")])
    with pytest.raises(SourceError, match="2 originals, but 1 of their keys"):
        twin(tmp_path / "set", tmp_path / "originals.jsonl", tmp_path / "twin")


def test_other_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"a\.csv: expected a shard"):
        write(tmp_path / "a.csv", [])
    with pytest.raises(SourceError, match=r"a\.csv: expected a shard"):
        read(tmp_path / "a.csv")
