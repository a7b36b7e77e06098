"""What an audit costs: each stage beside the libraries that do the same, and a plan for very many samples.

rows of `make bench-scale`       each stage, ours and the peers', in one run
constants, measured              the cost model's constants, made from the logs of finished scans
simulate, plan                   a scan as events; hours, storage, memory, and what breaks first
"""
