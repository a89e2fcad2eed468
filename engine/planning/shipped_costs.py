"""What tasks cost where nothing was measured: as `tamis plan --calibrate` found it on two processors."""

from __future__ import annotations

from typing import Final

from engine.planning.costs import Cost, Costs

SHIPPED: Final = Costs(
    source="shipped",
    threads=2,
    start=2.84,
    process=362733568.0,
    kinds={
        "BlockTask": Cost(0.00577, {"cells": 8.62e-08}, 0, 0, 3.6e05, 0),
        "CheckTask": Cost(0.00135, {"rows": 1.65e-07}, 0.0174, 0, 1.16e06, 0),
        "ChooseTask": Cost(0.541, {"trials": 9.32e-08}, 0.796, 0, 1.84e05, 35.3),
        "CollisionTask": Cost(0.00518, {"users": 2.36e-07}, 0.000944, 0.993, 3.4e06, 0.511),
        "CompactTask": Cost(0.00559, {"rows": 2.8e-06}, 0.0029, 0.513, 1.96e07, 0),
        "ContactsTask": Cost(0.00373, {"rows": 4.83e-07}, 0.00355, 1, 1.57e06, 84.5),
        "DiscoverTask": Cost(0.0288, {"files": 0.001}, 0, 0.535, 2.97e05, 11.4),
        "DriftTask": Cost(0.0469, {"scoring": 1.15e-07}, 0.0015, 0, 1.92e05, 0.137),
        "FarTask": Cost(0.000363, {"work": 1.38e-09}, 0.000175, 0, 7.74e05, 0),
        "LabelTask": Cost(0.00246, {"work": 7.33e-09}, 0, 1, 9.54e05, 0),
        "LedgerTask": Cost(0.0142, {"before": 1.33e-05, "members": 9.81e-07}, 0.257, 0, 2.31e06, 0),
        "MatrixTask": Cost(0.107, {"cells": 2.67e-08, "files": 5e-05, "partials": 7.07e-07}, 0, 0, 7.76e06, 222),
        "PartTask": Cost(0.012, {"rows": 3.14e-07}, 0, 1, 0, 263),
        "PermitsTask": Cost(0.15, {"rows": 1.7e-07}, 0.03, 0.5, 1e06, 90),
        "RangeTask": Cost(0.0337, {"rows": 6.67e-08}, 0, 1, 1.61e06, 0.596),
        "ResampleTask": Cost(0.003, {"work": 5.32e-08}, 0.846, 1, 2.66e05, 0),
        "RollTask": Cost(0.00806, {"files": 0.002, "rows": 1.12e-06, "units": 0.0192}, 0.0087, 0.108, 5.08e06, 115),
        "SampleTask": Cost(0.00501, {"rows": 1.43e-07}, 0.0055, 1, 4.21e06, 0),
        "ScalesTask": Cost(0.004, {"users": 1.61e-07}, 0.000279, 0, 6.28e05, 62.6),
        "ScoreTask": Cost(
            0.0723, {"cells": 1.59e-07, "files": 0.000644, "partials": 2.16e-07}, 0.233, 0.0641, 1.47e06, 19.2
        ),
        "TargetTask": Cost(0.389, {"cells": 2.81e-07, "scoring": 8.92e-07}, 1.63, 1, 2.32e07, 50),
        "VerifyTask": Cost(0.00302, {"bytes": 2.36e-10}, 0, 1, 2.5e05, 0),
        "ViewTask": Cost(0.0181, {"work": 1.01e-07}, 0, 0.34, 2.16e06, 0),
        "Visit first_of_block": Cost(0.000547, {}, 0, 1, 1.31e05, 0),
        "Visit second_of_block": Cost(0.00108, {}, 0, 0, 1.8e05, 0),
        "Visit sums_of": Cost(0.000296, {"work": 2.03e-09}, 0.000417, 0, 1.31e05, 0),
        "driver fit": Cost(0.161, {"files": 0.001, "tasks": 0.0001}, 0.0254, 1, 0, 0),
        "driver score": Cost(0.179, {"files": 2e-05, "tasks": 0.0001, "written": 0.0002}, 0, 1, 0, 0),
    },
)
