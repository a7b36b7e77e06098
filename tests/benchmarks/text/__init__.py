"""How well poisoned text is found: attacks planted in real corpora, the real units run on them.

    corpora    clean corpora; what is not there raises `Missing`, and says how to get it
    planted    attacks planted in a corpus, and its feature tables
    rivals     which baselines are run, in `baselines` and `language`, on the texts as `words`
    cells      what is measured, one cell at a time, and what is written about it

`python -m tests.benchmarks.text --help` says how to run them.
"""
