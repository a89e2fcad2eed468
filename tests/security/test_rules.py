from __future__ import annotations

from pathlib import Path

import pytest

from engine.check_run import check_run
from engine.errors import ConfigError
from engine.execution.local import LocalExecutor
from tests.samples import AS_OF, configuration, write_sample

PYTHON = [
    "__import__('pathlib').Path({marker!r}).touch()",
    "open({marker!r}, 'w')",
    "exec(\"open({marker!r}, 'w')\")",
    "(lambda: open({marker!r}, 'w'))()",
    "[c for c in ().__class__.__base__.__subclasses__()]",
    "pl.col('x').map_batches(lambda s: open({marker!r}, 'w'))",
    "1 == 1 if open({marker!r}, 'w') else 0",
    "f\"{{open({marker!r}, 'w')}}\" = 'a'",
    "read_text({marker!r}) = 'a'",
    "COPY (SELECT 1) TO {marker!r}",
    "region = 'a'; ATTACH {marker!r}",
]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("rules"), users=12)


@pytest.mark.parametrize("text", PYTHON)
def test_a_rule_is_never_run_as_python(sample: Path, tmp_path: Path, text: str) -> None:
    marker = tmp_path / "marker"
    rule = text.format(marker=str(marker)).replace("\\", "\\\\").replace('"', '\\"')
    file = sample.with_name("odd.toml")
    file.write_text(sample.read_text(encoding="utf-8").replace("engagement_score > 60", rule), encoding="utf-8")
    with pytest.raises(ConfigError):
        check_run(configuration(file), AS_OF, executor=LocalExecutor())
    assert not marker.exists()
