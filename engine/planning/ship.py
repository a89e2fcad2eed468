"""What was measured on one machine, as the source of `engine.planning.shipped_costs`."""

from __future__ import annotations

from pathlib import Path

from engine.planning.costs import Costs
from engine.tables.durable import durable_text

_HEAD = '''"""What tasks cost where nothing was measured: as `tamis plan --calibrate` found it on two processors."""

from __future__ import annotations

from typing import Final

from engine.planning.costs import Cost, Costs

SHIPPED: Final = Costs(
'''


def shipped_source(costs: Costs, path: Path) -> None:
    """Write costs as the module of those that are shipped, with three digits each."""
    lines = [
        '    source="shipped",',
        f"    threads={costs.threads},",
        f"    start={costs.start:.3g},",
        f"    process={costs.process:.0f}.0,",
        "    kinds={",
    ]
    for kind, cost in sorted(costs.kinds.items()):
        per = "{" + ", ".join(f'"{name}": {each:.3g}' for name, each in cost.per.items()) + "}"
        numbers = (cost.first, cost.serial, cost.memory, cost.memory_per)
        lines.append(f'        "{kind}": Cost({cost.fixed:.3g}, {per}, {", ".join(f"{one:.3g}" for one in numbers)}),')
    durable_text(_HEAD + "\n".join([*lines, "    },", ")", ""]), path)
