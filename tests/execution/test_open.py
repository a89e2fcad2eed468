from __future__ import annotations

import subprocess
import sys

import pytest

from engine.config import Execution
from engine.execution.local import LocalExecutor
from engine.execution.open import open_executor


def test_local() -> None:
    with open_executor(Execution()) as executor:
        assert executor == LocalExecutor()


@pytest.mark.ray
def test_ray(ray_session: None) -> None:
    with open_executor(Execution(executor="ray", cpus_per_task=2)) as executor:
        assert (executor.name, executor.threads) == ("ray", 2)


def test_a_local_run_does_not_load_ray() -> None:
    code = (
        "import sys\nfrom engine.config import Execution\nfrom engine.execution.open import open_executor\n"
        "with open_executor(Execution()):\n    sys.exit('ray' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
