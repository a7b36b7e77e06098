"""The simulation against formulas, the limits against their arithmetic, and the constants of a real, small scan."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from dataaudit.audit import scan
from dataaudit.model import Settings
from dataaudit.observe import observers
from dataaudit.stages.detect import MARKED
from tests.benchmarks.scale import constants as stored
from tests.benchmarks.scale import measured, simulate
from tests.benchmarks.scale.constants import BadConstants, Constants, Limits, PerShard, Scheduler, Single, Stage, Storage
from tests.benchmarks.scale.plan import analytic, checked, example, main, markdown, plan, predicted, told
from tests.benchmarks.scale.simulate import Cluster

MEASUREMENTS = Path(__file__).with_name("measurements.json")
SHARD = 10_000
ENOUGH = Storage(worker_bytes_per_second=1e12, all_bytes_per_second=1e15)
NO_WAIT = Scheduler(seconds_per_task=0.0)


def extraction(**more: object) -> Constants:
    """A scan that only reads shards, a second each."""
    made = Constants("", "", (Stage("extract", PerShard(seconds_per_sample=1e-4)),), ENOUGH, NO_WAIT)
    return replace(made, **more)  # type: ignore[arg-type]


def seconds(constants: Constants, cluster: Cluster, samples: int) -> float:
    return plan(constants, cluster, samples, SHARD).seconds


def test_twice_the_workers_need_half_the_time_for_what_is_parallel() -> None:
    one, two = (seconds(extraction(), Cluster(workers), 10_000_000) for workers in (10, 20))
    assert one == pytest.approx(100)
    assert two == pytest.approx(one / 2)


def test_cores_count_as_workers() -> None:
    assert seconds(extraction(), Cluster(5, cores=4), 10_000_000) == pytest.approx(seconds(extraction(), Cluster(20), 10_000_000))


def test_a_serial_stage_bounds_the_speed_up() -> None:
    alone = Stage("finish", single=(Single("finish", 100.0),))
    made = extraction(stages=(*extraction().stages, alone))
    one = seconds(made, Cluster(1), 10_000_000)
    for workers in (10, 100, 1_000):
        share = 100 / one
        assert one / seconds(made, Cluster(workers), 10_000_000) == pytest.approx(1 / (share + (1 - share) / workers), rel=0.01)
    assert one / seconds(made, Cluster(1_000), 10_000_000) < 1 / share


@pytest.mark.parametrize("workers", [1, 7, 100])
@pytest.mark.parametrize("samples", [1_000_000, 100_000_000, 10_000_000_000])
def test_where_nobody_dies_it_is_the_formula(workers: int, samples: int) -> None:
    made = replace(example(), storage=ENOUGH, scheduler=NO_WAIT)
    by_formula = analytic(made, Cluster(workers), samples, SHARD)
    # Slots that have nothing left to do are in no formula: at the most one task of each stage.
    idle = sum(simulate.task_seconds(s.shards, SHARD, 1e12) for s in made.stages if s.shards)
    found = seconds(made, Cluster(workers), samples)
    assert found == pytest.approx(by_formula, rel=0.01, abs=idle if samples == 1_000_000 else 0.0)


def test_storage_that_all_share_is_slower_with_more_workers() -> None:
    made = extraction(storage=Storage(worker_bytes_per_second=1e8, all_bytes_per_second=1e9))
    made = replace(made, stages=(Stage("extract", PerShard(read_per_sample=1e5)),))
    ten, hundred = (seconds(made, Cluster(workers), 10_000_000) for workers in (10, 100))
    assert ten == pytest.approx(1_000)
    assert hundred == pytest.approx(ten), "ten workers take all that the storage gives"


def test_dead_workers_lengthen_a_scan_and_lose_nothing() -> None:
    tasks = [10.0] * 5_000
    calm = simulate.tasks_run(tasks, extraction(), Cluster(20), random.Random(1))
    killed = simulate.tasks_run(tasks, extraction(), Cluster(20, deaths_per_hour=10.0), random.Random(1))
    assert calm.done == killed.done == len(tasks)
    assert killed.lost == calm.lost == calm.again == 0
    assert killed.again > 20
    # A death costs its restart and half a task.
    assert killed.seconds == pytest.approx(calm.seconds * (1 + 10 * 65 / 3600), rel=0.1)


def test_a_task_that_outlives_no_worker_is_given_up_after_four() -> None:
    found = simulate.tasks_run([7_200.0], extraction(), Cluster(2, deaths_per_hour=600.0), random.Random(1))
    assert (found.done, found.again, found.lost) == (0, 3, 1)


def test_the_same_seed_is_the_same_run_and_stragglers_take_longer() -> None:
    slow = Cluster(10, stragglers=0.02, deaths_per_hour=1.0)
    assert simulate.run(example(), slow, 10_000_000, SHARD) == simulate.run(example(), slow, 10_000_000, SHARD)
    assert seconds(extraction(), Cluster(10, stragglers=0.02), 10_000_000) > seconds(extraction(), Cluster(10), 10_000_000)


def test_a_busy_scheduler_sets_the_pace() -> None:
    made = extraction(scheduler=Scheduler(seconds_per_task=0.5))
    found = plan(made, Cluster(100), 10_000_000, SHARD)
    assert found.full_scheduler == pytest.approx(2)
    assert found.seconds == pytest.approx(1_000 * 0.5, rel=0.01)


def test_the_first_thing_that_breaks_comes_first() -> None:
    finish = Stage("finish", single=(Single("merge", memory_per_shard=80_000),))
    made = extraction(stages=(*extraction().stages, finish), marked_share=0.01, limits=Limits(worker_memory=8e8))
    found = plan(made, Cluster(10), 1_000_000_000, SHARD)
    assert [x.what for x in found.broken] == ["memory of the largest worker (bytes)", "rows that one detector marks"]
    memory, marked = (x.breaks_at or 0 for x in found.broken)
    assert memory == pytest.approx(10_000 * SHARD, rel=0.01)
    assert marked == pytest.approx(MARKED / 0.01, rel=0.01)
    assert all(x.stops for x in found.broken)
    assert not plan(made, Cluster(10), 1_000_000, SHARD).broken


def test_limits_are_those_of_the_code() -> None:
    assert Limits().marked == MARKED


def test_bytes_and_files_are_counted() -> None:
    made = extraction(stages=(Stage("extract", PerShard(written=1e6, written_per_sample=100, files=2)),))
    found = plan(made, Cluster(1), 1_000_000, SHARD)
    assert (found.storage, found.files) == (100 * 1e6 + 1e8, 200)


def test_constants_survive_their_file(tmp_path: Path) -> None:
    path = tmp_path / "constants.json"
    path.write_text(stored.to_json(example()))
    assert stored.load(path) == example()


@pytest.mark.parametrize("text", ["{", "{}", '{"stages": [{"name": "x", "shards": {"second": 1}}]}', '{"stages": [], "dat": ""}'])
def test_constants_that_say_something_else_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "constants.json"
    path.write_text(text)
    with pytest.raises(BadConstants, match=r"constants\.json"):
        stored.load(path)


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--example"])
    path = tmp_path / "constants.json"
    path.write_text(capsys.readouterr().out)
    main(["--samples", "1e6", "1e9", "--workers", "100", "--constants", str(path), "--markdown"])
    table = capsys.readouterr().out
    assert table.count("\n| 1,000,000,000 | 10,000 | 100 x 1 |") == 1
    main(["--samples", "1e9", "--constants", str(path)])
    assert "STOPS: rows that one detector marks" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--constants", str(tmp_path / "none.json")])


def test_every_row_of_the_tables_has_as_many_cells_as_its_heading() -> None:
    plans = [plan(example(), Cluster(10), samples, SHARD) for samples in (1_000_000, 1_000_000_000)]
    for block in markdown(plans).split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1
    assert "nothing breaks" in told(replace(plans[0], limits=()))


def test_a_line_through_what_was_measured() -> None:
    assert measured.line([10, 10], [1_000, 9_000], [25.0, 65.0]) == pytest.approx((2.0, 0.005))
    assert measured.line([1, 10], [100, 1_000], [3.0, 30.0]) == pytest.approx((0.0, 0.03)), "of two that grow alike it is the samples"
    assert measured.line([1], [1], [0.0]) == (0.0, 0.0)


def test_a_log_tells_work_and_tails(tmp_path: Path) -> None:
    """Two workers, four tasks of 2 s; then 3 s on one worker; then four tasks of 1 s."""
    marks = measured.marks_of(
        {"event": "progress", "time": f"2026-01-01T00:00:{second:06.3f}+00:00", "stage": stage, "total": 5}
        for stage, times in {"extract": (3, 4, 5, 6, 7), "detect": (11, 11.5, 12, 12.5, 13)}.items()
        for second in times
    )
    first, second = measured.observed(marks, marks[0].first - 3, marks[1].last + 1, workers=2)
    assert (first.work, first.tail) == pytest.approx((10.0, 3.0))
    assert (second.work, second.tail) == pytest.approx((5.0, 1.0))


def test_constants_of_a_real_scan_predict_it(tmp_path: Path) -> None:
    """Of scans of few samples nothing is to be learnt about many; but seconds and bytes must add up to what was measured."""
    rng = random.Random(1)
    words = [f"word{i}" for i in range(400)]
    for number in range(4):
        rows = [{"text": " ".join(rng.choices(words, k=30)), "label": rng.choice("ab")} for _ in range(250)]
        (tmp_path / f"{number}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out, log = tmp_path / "audit", tmp_path / "log"
    with observers(log, None) as watching:
        audit = scan(f"{tmp_path}/*.jsonl", out, Settings(serial=True, seed=1), watching[0].progress)
        watching[0].finished(audit)
    found = measured.read(log, out, workers=1, shard=250)
    assert (found.samples, found.shards) == (1_000, 4)
    assert found.features > 0
    assert any(parted for sizes in found.states.values() for _, parted in sizes), "near-duplicates have parts"
    made = measured.constants([found], "texts", "here")
    # Of a scan this short, what writing and the scheduler add is no small part.
    assert predicted(replace(made, storage=ENOUGH, scheduler=NO_WAIT), found.run) == pytest.approx(found.seconds, rel=0.3, abs=1.0)
    written = plan(made, Cluster(1), 1_000, 250).storage
    states = sum(size for sizes in found.states.values() for size, _ in sizes)
    assert written == pytest.approx(found.features + states + found.scores + found.own_scores, rel=0.01)


def test_what_was_measured_is_predicted() -> None:
    """Within a quarter of every measured scan."""
    if not MEASUREMENTS.exists():
        pytest.skip(f"{MEASUREMENTS.name} is not there yet: tests.benchmarks.scale.measured makes it")
    made = stored.load(MEASUREMENTS)
    assert made.runs
    for run in made.runs:
        assert predicted(made, run) == pytest.approx(run.seconds, rel=0.25), run
    assert len(list(checked(made))) == 2 + len(made.runs)
