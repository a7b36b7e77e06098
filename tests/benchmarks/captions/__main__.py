"""`python -m tests.benchmarks.captions --help` says what can be asked for."""

from tests.benchmarks.captions import cells
from tests.benchmarks.command import command

if __name__ == "__main__":
    command(cells)
