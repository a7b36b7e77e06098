"""Runs the detection benchmarks one after the other; finished cells are not run again.

make bench                     needs DATAAUDIT_BENCH_DATA for the large sets, and says so where it is unset
"""

from tests.benchmarks import detection_images, detection_text

if __name__ == "__main__":
    detection_images.main(["--seeds", "1", "2", "3"])
    for corpus in ("chat", "instructions"):
        detection_text.main([corpus])
