"""Runs the detection benchmarks one after the other; finished cells are not run again.

make bench                     needs DATAAUDIT_BENCH_DATA for the large sets, and says so where it is unset
make bench-images              the images alone; see `tests.benchmarks.images`
make bench-text                the texts alone; see `tests.benchmarks.text`
make bench-captions            pictures with captions; see `tests.benchmarks.captions`
"""

from tests.benchmarks.captions import cells as captions
from tests.benchmarks.command import main
from tests.benchmarks.images import cells as images
from tests.benchmarks.text import cells as text

if __name__ == "__main__":
    for suite in (images, text, captions):
        main([], suite)
