"""How well poisoned images are found: attacks planted in real data sets, the real units and the baselines run on them.

    datasets   clean images; what is not there raises `Missing`
    planted    attacks planted in a data set
    feature_tables   what an audit sees of it
    triggers   what was planted, and whether a finding shows it
    baselines  published methods on the same data (with `neighbours` and `victim`)
    cells      what is measured, one cell at a time, and what is written about it
    scale      how fast, and in how much memory

`python -m tests.benchmarks.images --help` says how to run them.
"""
