from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.clusters.blocks import (
    ArrayBlocks,
    Block,
    BlockFile,
    FileBlocks,
    array_blocks,
    read_block,
    write_block,
)
from engine.execution.local import LocalExecutor


def describe(block: Block, factor: float) -> tuple[int, float, int]:
    return len(block.rows), float(block.rows.sum()) * factor, block.threads


def test_blocks_in_memory_and_in_files_are_visited_in_their_order(tmp_path: Path) -> None:
    parts = [np.arange(6.0).reshape(3, 2), np.empty((0, 2)), np.ones((1, 2))]
    files = [write_block(part, tmp_path / f"{number}.npy") for number, part in enumerate(parts)]
    stored = FileBlocks(LocalExecutor(threads=2), files)
    held = ArrayBlocks([Block(part, threads=2) for part in parts])
    assert stored.map(describe, 2.0) == held.map(describe, 2.0) == [(3, 30.0, 2), (0, 0.0, 2), (1, 4.0, 2)]
    assert stored.count == held.count == 4


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_file_gives_back_the_rows_in_columns_and_read_only(tmp_path: Path, order: str) -> None:
    rows = np.asarray(np.random.default_rng(0).normal(size=(50, 3)), order=order)
    found = read_block(write_block(rows, tmp_path / "block.npy"))
    assert found.tolist() == rows.tolist()
    assert found.T.flags.c_contiguous
    assert not found.flags.writeable
    assert sorted(path.name for path in tmp_path.iterdir()) == ["block.npy"]


def test_the_same_rows_give_the_same_file(tmp_path: Path) -> None:
    rows = np.arange(12.0).reshape(4, 3)
    one, other = (write_block(np.asarray(rows, order=order), tmp_path / f"{order}.npy") for order in ("C", "F"))
    assert Path(one.path).read_bytes() == Path(other.path).read_bytes()


@pytest.mark.parametrize(
    "content", [np.ones((4, 2)), np.ones((2, 3), order="F", dtype=np.float32), np.ones(3), np.ones((3, 2))]
)
def test_another_file_is_refused(tmp_path: Path, content: np.ndarray) -> None:
    path = tmp_path / "block.npy"
    np.save(path, content)
    with pytest.raises(ValueError, match=r"block\.npy: expected 3 column-major rows of floats"):
        read_block(BlockFile(str(path), 3))


def test_weights_are_whole_numbers() -> None:
    weights = array_blocks(np.ones((2, 1)), np.array([2.0, 3.0])).blocks[0].weights
    assert weights is not None
    assert weights.dtype == np.int64
    with pytest.raises(ValueError, match="whole numbers"):
        Block(np.ones((1, 1)), np.array([0.5]))
