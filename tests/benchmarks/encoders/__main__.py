"""`python -m tests.benchmarks.encoders --help` says what can be asked for."""

from tests.benchmarks.encoders.speed import main

if __name__ == "__main__":
    main()
