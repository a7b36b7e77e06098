"""Prefect flows: scheduling, retries and artifacts around the same stages that `dataaudit scan` runs.

Prefect's analytics are switched off here, before Prefect is imported.
"""

import os

os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
