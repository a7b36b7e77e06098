"""Runs the detection benchmarks one after the other; finished cells are not run again.

make bench                     needs DATAAUDIT_BENCH_DATA for the large sets, and says so where it is unset
make bench-images              the images alone; see `tests.benchmarks.detection`
"""

from tests.benchmarks import detection_text
from tests.benchmarks.detection.__main__ import main as detection_images

if __name__ == "__main__":
    detection_images([])
    for corpus in ("chat", "instructions"):
        detection_text.main([corpus])
