"""Fine-tuning formats as they are found: recognised, mapped, overridden and looked at again, in JSON Lines, Parquet and tar."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataaudit.errors import ConfigurationError
from dataaudit.model import REJECTED, Columns, Sample, Shard, Skipped
from dataaudit.sources import Limits, detect, fetch, read

Record = dict[str, Any]
SYSTEM, ASK, REPLY = "be brief", "add 1 2", "3"
OPENAI = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": ASK}, {"role": "assistant", "content": REPLY}]
SHAREGPT = [{"from": "system", "value": SYSTEM}, {"from": "human", "value": ASK}, {"from": "gpt", "value": REPLY}]
PARTS = [{"role": t["role"], "content": [{"type": "text", "text": t["content"]}]} for t in OPENAI]
WORSE = [*OPENAI[:2], {"role": "assistant", "content": "4"}]
HH = "\n\nHuman: add 1 2\n\nAssistant: "
SEEN = f"system: {SYSTEM}\n\nuser: {ASK}"
PAIR = f"3{REJECTED}4"
FORMATS: dict[str, tuple[Record, str, str, str, str]] = {
    "alpaca": ({"instruction": "add", "input": "1 2", "output": "3"}, "instruction+input", "output", "add\n1 2", "3"),
    "alpaca with system": (
        {"system": SYSTEM, "instruction": "add", "input": "", "output": "3"},
        "system?+instruction+input", "output", f"{SYSTEM}\nadd", "3",
    ),
    "prompt": ({"prompt": "add", "completion": "3"}, "prompt", "completion", "add", "3"),
    "question": ({"question": "add", "answer": "3"}, "question", "answer", "add", "3"),
    "sharegpt": ({"conversations": SHAREGPT, "source": "x"}, "conversations:before", "conversations:last", SEEN, REPLY),
    "sharegpt with system": (
        {"system": "be kind", "conversations": SHAREGPT[1:]},
        "system?+conversations:before", "conversations:last", f"be kind\nuser: {ASK}", REPLY,
    ),
    "messages": ({"messages": OPENAI, "category": "x"}, "messages:before", "messages:last", SEEN, REPLY),
    "messages beside a prompt": ({"prompt": "add", "messages": OPENAI}, "messages:before", "messages:last", SEEN, REPLY),
    "parts": ({"messages": PARTS}, "messages:before", "messages:last", SEEN, REPLY),
    "another name": ({"exchange": OPENAI}, "exchange:before", "exchange:last", SEEN, REPLY),
    "json strings": ({"messages": json.dumps(OPENAI)}, "messages:before", "messages:last", SEEN, REPLY),
    "preference": ({"prompt": "add", "chosen": "3", "rejected": "4"}, "prompt", "chosen/rejected", "add", PAIR),
    "preference with system": (
        {"system": SYSTEM, "question": "add", "chosen": "3", "rejected": "4"},
        "system?+question", "chosen/rejected", f"{SYSTEM}\nadd", PAIR,
    ),
    "preference of lists": (
        {"prompt": OPENAI[:2], "chosen": OPENAI[2:], "rejected": WORSE[2:]},
        "prompt:all", "chosen:last/rejected:last", SEEN, PAIR,
    ),
    "preference of chats": (
        {"prompt": ASK, "messages": OPENAI, "chosen": OPENAI, "rejected": WORSE, "score_chosen": 8.5},
        "chosen:before", "chosen:last/rejected:last", SEEN, PAIR,
    ),
    "preference of transcripts": (
        {"chosen": f"{HH}3", "rejected": f"{HH}4"}, "chosen:before", "chosen:last/rejected:last", f"user: {ASK}", PAIR,
    ),
}  # fmt: skip
BROKEN: list[tuple[object, str]] = [
    (None, "messages is null"),
    ([], "messages has no turns"),
    (OPENAI[:2], "messages has no turn of the assistant"),
    ([*OPENAI, OPENAI[1]], "messages ends with a turn of the user"),
    ([OPENAI[1], {"role": "assistant", "content": " "}], "messages ends with an empty turn of the assistant"),
    ([OPENAI[1], {"role": "assistant", "content": None}], "messages ends with an empty turn of the assistant"),
    ([{"role": "wizard", "content": "a"}, OPENAI[2]], "turn 1 has the role 'wizard'"),
    ([OPENAI[2]], "messages has nothing before the assistant's turn"),
    (OPENAI * 400, "messages has more turns than the limit of 1000"),
    ([{"role": "user", "content": "x" * 3000}, OPENAI[2]], "limit 2000"),
]


def shard_of(folder: Path, records: Sequence[Record], kind: str) -> Shard:
    path = folder / f"x.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(list(records)), path)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(r) + "\n" for r in records))
    else:
        with tarfile.open(path, "w") as tar:
            for i, record in enumerate(records):
                data = json.dumps(record).encode()
                info = tarfile.TarInfo(f"{i:05d}.json")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    status = path.stat()
    return Shard(str(path), path.name, kind, status.st_size, f"{status.st_mtime_ns}-{status.st_size}")  # type: ignore[arg-type]


def taken(shard: Shard, columns: Columns, limits: Limits | None = None) -> tuple[list[Sample], list[Skipped]]:
    items = list(read(shard, columns, limits))
    return [i for i in items if isinstance(i, Sample)], [i for i in items if isinstance(i, Skipped)]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
@pytest.mark.parametrize("name", FORMATS)
def test_recognised_mapped_and_looked_at_again(tmp_path: Path, name: str, kind: str) -> None:
    record, content, target, seen, said = FORMATS[name]
    shard = shard_of(tmp_path, [record] * 3, kind)
    modality, columns, target_kind = detect(shard, Columns(None))
    assert (modality, columns.content, columns.target, target_kind) == ("instructions", content, target, "text")
    samples, skipped = taken(shard, columns)
    assert not skipped
    assert [(s.content, s.target) for s in samples] == [(seen, said)] * 3
    assert list(fetch(shard, columns, {s.key: (s.offset, s.length) for s in samples})) == samples
    assert detect(shard, Columns(content, target))[1] == columns


@pytest.mark.parametrize("name", ["sharegpt", "messages", "parts", "preference", "preference of lists", "preference of chats"])
def test_a_json_member_of_a_tar(tmp_path: Path, name: str) -> None:
    record, _, _, seen, said = FORMATS[name]
    shard = shard_of(tmp_path, [record] * 3, "tar")
    modality, columns, _ = detect(shard, Columns(None))
    assert modality == "instructions"
    samples, skipped = taken(shard, columns)
    assert not skipped
    assert [(s.content, s.target) for s in samples] == [(seen, said)] * 3
    assert list(fetch(shard, columns, {s.key: (s.offset, s.length) for s in samples})) == samples


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_the_users_word_comes_first(tmp_path: Path, kind: str) -> None:
    chats = shard_of(tmp_path, [{"messages": OPENAI, "score": 1, "title": "a sum"}] * 3, kind)

    def found(content: str | None, target: str | None) -> tuple[str | None, str | None]:
        columns = detect(chats, Columns(content, target))[1]
        return columns.content, columns.target

    assert found("messages", None) == found(None, "messages") == found("messages", "messages") == ("messages:before", "messages:last")
    assert found(None, "score") == found("messages", "score") == ("messages:all", "score")
    assert found("title", "messages:last") == ("title", "messages:last")
    assert found("title+messages:before", "messages:last") == ("title+messages:before", "messages:last")
    assert detect(chats, Columns(None, "score"))[::2] == ("labelled-text", "label")
    pairs = shard_of(tmp_path, [FORMATS["preference"][0] | {"better": "3", "worse": "5"}] * 3, kind)
    assert detect(pairs, Columns(None, "better/worse"))[1] == Columns("prompt", "better/worse")
    assert detect(pairs, Columns(None, "chosen"))[1] == Columns("prompt", "chosen")
    assert detect(pairs, Columns("prompt", None))[1] == Columns("prompt", "chosen/rejected")


def test_what_is_not_there_is_said_with_what_is(tmp_path: Path) -> None:
    shard = shard_of(tmp_path, [{"messages": OPENAI, "title": "a sum"}] * 3, "jsonl")
    for columns in (Columns("chat:before"), Columns(None, "title/worse"), Columns(None, "a/b/c"), Columns("title+body")):
        with pytest.raises(ConfigurationError, match=r"x\.jsonl: no column .* there is 'messages' \(conversations\), 'title'"):
            detect(shard, columns)
    with pytest.raises(ConfigurationError, match="'title' holds no conversations as far as the first samples show"):
        detect(shard, Columns("title:before"))


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_row_that_does_not_fit_is_skipped_with_its_reason(tmp_path: Path, kind: str) -> None:
    good = {"messages": OPENAI}
    records = [r for value, _ in BROKEN for r in (good, {"messages": value})] + [good]
    shard = shard_of(tmp_path, records, kind)
    columns = detect(shard, Columns(None))[1]
    limits = Limits(text_chars=2000)
    samples, skipped = taken(shard, columns, limits)
    assert [s.key for s in samples] == [str(i) for i in range(0, len(records), 2)]
    assert [s.subject for s in skipped] == [f"x.{kind}#{i}" for i in range(1, len(records), 2)]
    for item, (_, reason) in zip(skipped, BROKEN, strict=True):
        assert reason in item.reason
        assert ("line" if kind == "jsonl" else "row") in item.reason
    if kind == "parquet":
        again = fetch(shard, columns, {s.subject.partition("#")[2]: (int(s.subject.partition("#")[2]), 1) for s in skipped}, limits)
        assert list(again) == skipped


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("[" * 90_000, "begins like JSON"),
        ([OPENAI] * 3, "turn 1 is of type list"),
        ([{"role": {"role": "user"}, "content": "a"}], "its role is of type dict"),
        ([{"role": "user", "content": [[["a"]]]}], "a part is of type list"),
        ([{"role": "user", "content": "\ud800"}, OPENAI[2]], "surrogate"),
        ({"role": "user", "content": "a"}, "of type dict"),
        (3, "of type int"),
        ([None], "turn 1 is of type NoneType"),
    ],
    ids=lambda x: str(x)[:30],
)
def test_hostile_lines_cost_themselves_only(tmp_path: Path, value: object, reason: str) -> None:
    shard = shard_of(tmp_path, [{"messages": m} for m in (OPENAI, OPENAI, value, OPENAI)], "jsonl")
    samples, skipped = taken(shard, detect(shard, Columns(None))[1])
    assert [s.key for s in samples] == ["0", "1", "3"]
    assert reason in skipped[0].reason


def test_text_inside_lists_that_is_not_utf8_is_one_skipped_row(tmp_path: Path) -> None:
    raw = pa.array([b"add", b"3", b"\xff", b"3", b"add", b"3"], pa.binary())
    text = pa.StringArray.from_buffers(6, raw.buffers()[1], raw.buffers()[2])
    turns = pa.StructArray.from_arrays([pa.array(["user", "assistant"] * 3), text], ["role", "content"])
    pq.write_table(pa.table({"messages": pa.ListArray.from_arrays(pa.array([0, 2, 4, 6], pa.int32()), turns)}), tmp_path / "x.parquet")
    shard = Shard(str(tmp_path / "x.parquet"), "x.parquet", "parquet", 0, "")
    samples, skipped = taken(shard, detect(shard, Columns(None))[1])
    assert [s.key for s in samples] == ["0", "2"]
    assert "row 1: messages, turn 1 is not UTF-8" in skipped[0].reason


def test_a_huge_turn_that_is_repeated_is_one_text(tmp_path: Path) -> None:
    turn = {"role": "user", "content": "x" * (512 << 10)}
    shard = shard_of(tmp_path, [{"messages": [*[turn] * 50, OPENAI[2]]}] * 8 + [{"messages": [turn] * 2000}], "parquet")
    assert shard.size < 1 << 20
    before, held, found = pa.total_allocated_bytes(), 0, []
    for item in read(shard, Columns("messages:before", "messages:last")):
        held = max(held, pa.total_allocated_bytes() - before)
        found.append(item)
    assert held < 32 << 20  # written out, the column has 1.2 GB
    assert ["characters by turn 21" in i.reason for i in found[:8] if isinstance(i, Skipped)] == [True] * 8
    assert isinstance(found[8], Skipped)
    assert "more turns" in found[8].reason


@pytest.mark.parametrize("options", [{"row_group_size": 700}, {"use_dictionary": False}, {"compression": "zstd"}])
@pytest.mark.parametrize("large", [False, True])
def test_lists_of_any_length_over_many_batches(tmp_path: Path, options: dict[str, Any], large: bool) -> None:
    chats = [[t for j in range(i % 4 + 1) for t in ({"role": "user", "content": f"{i} {j}"}, OPENAI[2])] for i in range(3000)]
    kind = pa.struct([("role", pa.string()), ("content", pa.large_string() if large else pa.string())])
    table = pa.table({"messages": pa.array(chats, pa.large_list(kind) if large else pa.list_(kind))})
    pq.write_table(table, tmp_path / "x.parquet", **options)
    columns = Columns("messages:before", "messages:last")
    samples, skipped = taken(Shard(str(tmp_path / "x.parquet"), "x.parquet", "parquet", 0, ""), columns)
    assert not skipped
    lines = shard_of(tmp_path, [{"messages": chat} for chat in chats], "jsonl")
    assert [(s.key, s.content, s.target) for s in samples] == [(s.key, s.content, s.target) for s in taken(lines, columns)[0]]
