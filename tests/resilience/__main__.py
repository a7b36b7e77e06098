import sys

from tests.resilience.suite import main

if __name__ == "__main__":
    sys.exit(main())
