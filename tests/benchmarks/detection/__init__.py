"""How well poisoned images are found: attacks planted in real data sets, the real units and the baselines run on them.

    datasets   clean images; what is not there raises `Missing`
    planted    attacks planted in a data set, and its feature tables
    ours       the project's own aggregates, detectors and fusion, in one process, and what their result is worth
    baselines  published methods on the same data (with `neighbours`, `victim` and `measures`)
    cells      what is measured, one cell at a time, and what is written about it
    table      all results as one Parquet file and one Markdown document

`python -m tests.benchmarks.detection --help` says how to run them.
"""
