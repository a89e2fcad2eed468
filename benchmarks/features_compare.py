"""Do two tables of features say the same, value by value? A ratio of times means something only if they do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

RELATIVE_TOLERANCE = 1e-9
_EXACT = {"SMALLINT", "INTEGER", "BIGINT", "UINTEGER", "UBIGINT", "HUGEINT", "BOOLEAN", "VARCHAR"}


def parquet(path: Path) -> str:
    """DuckDB's table function over a Parquet file, or over all those below a folder."""
    quoted = str(path / "**" / "*.parquet" if path.is_dir() else path).replace("'", "''")
    return f"read_parquet('{quoted}', hive_partitioning = false)"


def feature_differences(found: Path, expected: Path, *, key: str = "user_id") -> list[str]:
    """What two tables of features disagree on, one line each; empty when they agree.

    Both must have the same users, each once, and the same columns, in any order. Two values are equal when both are
    null or when they are the same number: exactly if one of the columns has integers, within `RELATIVE_TOLERANCE`
    otherwise.

    Args:
        found: Parquet file, or folder with any number of them at any depth.
        expected: As `found`.
        key: The column that names the user.
    """
    import duckdb

    with duckdb.connect(config={"temp_directory": f"{found}.tmp"}) as connection:
        types = [
            {name: str(kind) for name, kind, *_ in connection.sql(f"DESCRIBE FROM {parquet(path)}").fetchall()}
            for path in (found, expected)
        ]
        problems = _columns(*types)
        if key not in types[0] or key not in types[1]:
            return problems
        for name, path in (("found", found), ("expected", expected)):
            rows, users = connection.sql(f"SELECT count(*), count(DISTINCT {key}) FROM {parquet(path)}").fetchall()[0]
            if rows != users:
                problems.append(f"{name}: {rows} rows of {users} users")
        if any(problem.startswith(("found:", "expected:")) for problem in problems):
            return problems
        names = [name for name in types[1] if name in types[0] and name != key]
        counts = [f"count(*) FILTER ({_unequal(name, key, types)}) AS unequal_{at}" for at, name in enumerate(names)]
        only = [f"count(*) FILTER ({mine}.{key} IS NULL)" for mine in ("expected", "found")]
        result = connection.sql(
            f"SELECT {', '.join(only + counts)} FROM {parquet(found)} AS found"
            f" FULL JOIN {parquet(expected)} AS expected ON found.{key} = expected.{key}"
        ).fetchall()[0]
    for label, users in zip(("found", "expected"), result, strict=False):
        if users:
            problems.append(f"users: {users} only in what was {label}")
    differing = zip(names, result[2:], strict=True)
    return problems + [f"{name}: differs for {users} users" for name, users in differing if users]


def _columns(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    missing, more = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    problems = [f"columns: {', '.join(missing)} missing"] if missing else []
    return [*problems, f"columns: {', '.join(more)} not expected"] if more else problems


def _unequal(name: str, key: str, types: list[dict[str, str]]) -> str:
    found, expected = f'found."{name}"', f'expected."{name}"'
    if _EXACT & {kinds[name] for kinds in types}:
        different = f"{found} IS DISTINCT FROM {expected}"
    else:
        # A tolerance relative to infinity or NaN is as large, and every distance within it.
        near = f"abs({found} - {expected}) <= {RELATIVE_TOLERANCE} * greatest(abs({found}), abs({expected}))"
        finite = f"isfinite({found}) AND isfinite({expected})"
        equal = f"{found} = {expected} OR ({finite} AND {near})"
        different = f"({found} IS NULL) <> ({expected} IS NULL) OR NOT ({equal})"
    return f"found.{key} = expected.{key} AND ({different})"
