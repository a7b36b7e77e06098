"""What an audit of very many samples costs: measured on a few, simulated for the rest.

    constants   what is measured, as JSON
    measured    makes the constants from the logs and caches of finished scans
    simulate    a scan as events: tasks, a scheduler, stragglers, workers that die
    plan        hours, storage, memory, and what breaks first

`python -m tests.benchmarks.scale.plan --help` says how to run them.
"""
