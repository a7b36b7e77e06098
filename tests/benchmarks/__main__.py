"""Runs the detection benchmarks one after the other; finished cells are not run again.

make bench                     needs DATAAUDIT_BENCH_DATA for the large sets, and says so where it is unset
make bench-images              the images alone; see `tests.benchmarks.images`
"""

from tests.benchmarks import detection_text
from tests.benchmarks.command import main
from tests.benchmarks.images import cells as images

if __name__ == "__main__":
    main([], images)
    for corpus in ("chat", "instructions"):
        detection_text.main([corpus])
