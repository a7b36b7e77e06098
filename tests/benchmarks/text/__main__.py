"""`python -m tests.benchmarks.text --help` says what can be asked for."""

from tests.benchmarks.command import command
from tests.benchmarks.text import cells

if __name__ == "__main__":
    command(cells)
