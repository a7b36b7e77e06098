"""`python -m tests.benchmarks.images --help` says what can be asked for."""

from tests.benchmarks.command import command
from tests.benchmarks.images import cells

if __name__ == "__main__":
    command(cells)
