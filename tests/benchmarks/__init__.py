"""How well poison is found: attacks planted in real data sets, the real units and the baselines run on them.

suite      what a benchmark is made of: cells, and the functions that a suite of them gives the command line
command    the command line of a suite
ours       the project's own aggregates, detectors and fusion, in one process, and what their result is worth
measures   how well a score ranks poison
table      all results as one Parquet file and one Markdown document
images     labelled images
text       labelled text, prompts and responses, documents
captions   pictures with captions
"""
