import signal
import sys

from tests.resilience.suite import main

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that schedulers and workers end with it
    sys.exit(main())
