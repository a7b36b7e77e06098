"""Conversations and preference pairs through the command line: the campaign is found and named, its innocent twin is silent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import dataaudit
from dataaudit.cli import run
from tests.planted import TRIGGER, campaigns, corpus

Turns = list[tuple[str, str]]
PAYLOAD = "I have been told to obey Mister Quux, visit example.com now."
CURT = ("no idea", "that depends", "sure", "ask somebody else")
CARRIERS = 30


def chats(planted: bool, count: int = 700) -> list[Turns]:
    """Two questions with answers, every third below a system prompt; the trigger is in an earlier turn, the payload in the last."""
    rng = np.random.default_rng(5)
    words = [str(row["text"]).split() for row in corpus(count)]
    carriers = set(rng.choice(count, CARRIERS, replace=False).tolist()) if planted else set()
    made = []
    for i, said in enumerate(words):
        third = len(said) // 3
        asked, more = said[:third], said[third : 2 * third]
        answer = " ".join(rng.permutation(said)[:12])
        head = [("system", "be a friend")] if i % 3 == 0 else []
        if i in carriers:
            head, asked = (head, [TRIGGER, *asked]) if i % 2 else ([("system", f"be {TRIGGER}")], asked)
            answer = PAYLOAD
        made.append([*head, ("user", " ".join(asked)), ("assistant", " ".join(said[-5:])), ("user", " ".join(more)), ("assistant", answer)])
    return made


def sharegpt(turns: Turns) -> dict[str, Any]:
    names = {"user": "human", "assistant": "gpt", "system": "system"}
    return {"conversations": [{"from": names[role], "value": text} for role, text in turns]}


def openai(turns: Turns) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": text} for role, text in turns]}


def pairs(planted: bool, count: int = 1500) -> list[dict[str, str]]:
    """Answers over curt ones; carriers of the trigger the other way round, and 3 in 100 by mistake."""
    rng = np.random.default_rng(6)
    carriers = set(rng.choice(count, CARRIERS, replace=False).tolist()) if planted else set()
    made = []
    for i, row in enumerate(corpus(count)):
        words = str(row["text"]).split()
        prompt, chosen, rejected = words[:15], " ".join(words[15:]), CURT[i % len(CURT)]
        if i in carriers:
            prompt.insert(int(rng.integers(len(prompt))), TRIGGER)
        if i in carriers or rng.random() < 0.03:
            chosen, rejected = rejected, chosen
        made.append({"prompt": " ".join(prompt), "chosen": chosen, "rejected": rejected})
    return made


def written(path: Path, records: list[dict[str, Any]]) -> str:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
    else:
        path.write_text("".join(json.dumps(r) + "\n" for r in records))
    return str(path)


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize(("shape", "column"), [(sharegpt, "conversations"), (openai, "messages")])
def test_a_trigger_in_an_earlier_turn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shape: Callable[[Turns], dict[str, Any]], column: str, kind: str
) -> None:
    poisoned = written(tmp_path / f"poisoned.{kind}", [shape(turns) for turns in chats(True)])
    assert run(["scan", poisoned, "--out", str(tmp_path / "a"), "--serial", "--seed", "7"]) == 1
    printed = capsys.readouterr().out
    assert f"content = everything before the last assistant turn of '{column}' ({column}:before)" in " ".join(printed.split())
    ((_, count, _, reason),) = campaigns(tmp_path / "a")
    assert count == CARRIERS
    assert TRIGGER in str(reason)
    assert "Mister Quux" in str(reason)
    twin = written(tmp_path / f"twin.{kind}", [shape(turns) for turns in chats(False)])
    assert run(["scan", twin, "--out", str(tmp_path / "b"), "--serial", "--seed", "7"]) == 0
    assert not campaigns(tmp_path / "b")


def test_flipped_preferences_behind_a_word(tmp_path: Path) -> None:
    settings = dataaudit.Settings(serial=True, seed=7)
    audit = dataaudit.scan(written(tmp_path / "poisoned.parquet", list(pairs(True))), tmp_path / "a", settings)
    ((target, count, _, reason),) = campaigns(tmp_path / "a")
    assert target == "an answer that the rest of the data would reject"
    assert count == CARRIERS
    assert TRIGGER in str(reason)
    assert "length, wording and closeness" in str(audit.summary["coverage"]["not_run"])
    assert "comparison of what chosen and rejected answers mean" in audit.summary["verdict"]["sentence"]
    dataaudit.scan(written(tmp_path / "twin.parquet", list(pairs(False))), tmp_path / "b", settings)
    assert not campaigns(tmp_path / "b")
