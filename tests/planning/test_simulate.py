from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from engine.config import Config
from engine.errors import ConfigError
from engine.planning.costs import Costs
from engine.planning.limits import MAX_BUCKETS
from engine.planning.plan import Plan, plan_simulation
from engine.planning.shipped_costs import SHIPPED
from engine.planning.simulate import parse_simulation
from jobs.plan_text import print_plan
from tests.samples import configuration, write_sample

DAY = date(2026, 3, 1)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    file = write_sample(tmp_path_factory.mktemp("simulate"), users=5)
    return configuration(file, execution__rows_per_task=4_000_000)


def faster(costs: Costs, times: float) -> Costs:
    """Of a machine whose tasks take so much less time."""
    kinds = {
        kind: replace(cost, fixed=cost.fixed / times, per={name: each / times for name, each in cost.per.items()})
        for kind, cost in costs.kinds.items()
    }
    return replace(costs, kinds=kinds)


def simulated(config: Config, text: str, costs: Costs = SHIPPED) -> Plan:
    return plan_simulation(config, DAY, costs, parse_simulation(text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("user=1e6", "did you mean 'users'?"),
        ("users", "expected a number"),
        ("users=many", "expected a number"),
        ("users=nan", "expected a number"),
        ("users=0", "more than 0"),
        ("nodes=-3", "more than 0"),
        ("events=1e20", "more than 0 to 1e+14"),
        ("users=5,users=6", "given twice"),
        ("days=0.4", "days: expected a whole number"),
        ("nodes=2.5,cpus=0.5", "cpus: expected a whole number"),
        ("users=1e9,events=1e6", "cannot have"),
        ("days=10,new_days=11", "11 of 10 days"),
        ("users=1,events=5,days=10", "cannot fill 10 days"),
    ],
)
def test_what_cannot_be_simulated(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_simulation(text)
    assert caught.value.code == "plan-simulate"
    assert said in caught.value.message


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_simulation("a=1,users=x,days=-1")
    assert len(caught.value.message.splitlines()) == 4


def test_the_tasks_of_a_large_log(config: Config) -> None:
    plan = simulated(config, "users=1e9,events=1e11,nodes=200")
    assert plan.inputs.buckets == 1 << 15
    tasks = {(stage.job, stage.name): stage.tasks for stage in plan.estimate.stages}
    assert tasks["fit", "features"] == tasks["score", "score"] == 1 << 15
    assert {limit.name for limit in plan.limits if limit.share > 1} >= {"requests"}
    assert plan.estimate.seconds > 60


def test_a_larger_bucket_is_a_remedy_for_requests(config: Config) -> None:
    larger = config.model_copy(update={"execution": config.execution.model_copy(update={"rows_per_task": 64_000_000})})
    text = "users=1e9,events=1e11,nodes=200"

    def requests(given: Config) -> float:
        return sum(stage.files_read for stage in simulated(given, text).estimate.stages if stage.name == "features")

    assert requests(larger) < requests(config) / 8


def test_a_bucket_opens_the_files_of_its_own_users(config: Config) -> None:
    plan = simulated(config, "users=1e9,events=1e11,nodes=200")
    # Every day is cut into 137 ranges of users, and its edges lie in 136 of the 32,768 buckets.
    assert plan.inputs.daily_files == 365 * 137
    assert plan.inputs.files_of_bucket == 365 * (1 + 136 / (1 << 15))
    small = simulated(config, "users=1e6,events=5e7,days=100")
    assert small.inputs.files_of_bucket == small.inputs.daily_files == 100


def test_every_single_task_that_breaks_is_told(config: Config) -> None:
    plan = simulated(config, "users=1e9,events=1e11,nodes=200,memory=16")
    single = [limit for limit in plan.limits if limit.name == "single-task-memory"]
    assert len(single) > 1
    assert all(limit.share > 1 for limit in single)
    assert len({limit.what for limit in single}) == len(single)


def test_the_limit_of_buckets_breaks(config: Config) -> None:
    plan = simulated(config, "users=1e9,events=1e13,nodes=1000,days=100")
    [limit] = [limit for limit in plan.limits if limit.name == "buckets"]
    assert limit.limit == MAX_BUCKETS == 1 << 16
    assert limit.share > 1
    assert plan.inputs.buckets == MAX_BUCKETS


@pytest.mark.parametrize("costs", [SHIPPED, faster(SHIPPED, 100)], ids=["shipped", "a hundred times as fast"])
def test_more_nodes_help_where_workers_are_what_is_short(config: Config, costs: Costs) -> None:
    def plan(text: str) -> Plan:
        return simulated(config, f"users=1e8,events=1e10,{text}", costs)

    few, more, many = plan("nodes=2"), plan("nodes=4"), plan("nodes=1000")
    assert few.twice == more.estimate.seconds <= few.estimate.seconds
    for one, other, most in zip(few.estimate.stages, more.estimate.stages, many.estimate.stages, strict=True):
        # A stage that does not hang on workers takes as long with more of them.
        assert other.seconds < one.seconds if one.bound == "workers" else other.seconds <= one.seconds
        assert most.bound != "workers"
    assert plan("nodes=10,memory=8").estimate.seconds >= plan("nodes=10,memory=64").estimate.seconds
    assert plan("nodes=2000").estimate.seconds == many.estimate.seconds


def test_the_plan_says_which_stages_more_nodes_do_not_help(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    # Units above a size are rolled up one after the other, by fewer tasks than there are workers; and the driver hands
    # out 4,096 tasks for each pass of k-means.
    print_plan(simulated(config, "users=1e8,events=1e10,nodes=50"))
    text = capsys.readouterr().out
    assert "On 100 nodes it takes about " in text
    assert "More nodes do not make fit: read faster: each of the tasks that can run at a time has a worker" in text
    assert "More nodes do not make fit: cluster faster: the driver hands out one task after the other" in text


def test_a_new_day_is_scored_and_not_fitted(config: Config) -> None:
    plan = simulated(config, "users=1e6,events=5e7,days=100,new_days=1")
    assert {stage.job for stage in plan.estimate.stages} == {"score"}
    assert plan.census.stale_rows == 500_000
    first = simulated(config, "users=1e6,events=5e7,days=100")
    assert plan.estimate.seconds < first.estimate.seconds


def test_a_task_that_fits_no_node(config: Config) -> None:
    wide = config.model_copy(update={"execution": config.execution.model_copy(update={"cpus_per_task": 32})})
    with pytest.raises(ConfigError) as caught:
        simulated(wide, "nodes=2,cpus=16")
    assert caught.value.code == "plan-nodes"


def test_what_it_reads_is_not_looked_at(config: Config, tmp_path: Path) -> None:
    nowhere = config.model_copy(update={"out": str(tmp_path / "none")})
    assert simulated(nowhere, "users=1e6,events=5e7").to_dict()["simulated"] is True
    assert not (tmp_path / "none").exists()
