"""`tamis`, with its tasks held at the gates of a test: `python -m tests.cluster.drive GATES run -c …`."""

from __future__ import annotations

import sys

from jobs.app import app
from tests.cluster.gates import gate_tasks

if __name__ == "__main__":
    gate_tasks(sys.argv.pop(1))
    app()
