"""Load, faults and fuzzing: what a scan promises where workers are killed, disks fill up, reading fails and input is hostile.

    python -m tests.resilience --results DIR                    everything, up to 90 minutes; goes on where it was stopped
    python -m tests.resilience --results DIR --only kills       one part
    python -m tests.resilience --results DIR --kills 20         fewer of everything that is counted

Every finished piece leaves a JSON record in the results folder and is not run again.  `test_smoke.py` runs a little of each part
in `make test`.
"""
