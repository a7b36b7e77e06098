"""How well poisoned pairs of picture and caption are found: attacks planted in real pictures, the real units and the baselines run on them.

    datasets        clean pictures with captions; what is not there raises `Missing`
    templates       how a label becomes a caption
    planted         attacks planted in a data set
    feature_tables  what an audit sees of it; kept for clean pairs
    baselines       published methods on the same data
    cells           what is measured, one cell at a time, and what is written about it

`python -m tests.benchmarks.captions --help` says how to run them.
"""
