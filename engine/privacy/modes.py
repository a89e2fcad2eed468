"""Who may read what a run writes: one mask for the process, and for every worker that works for it.

    readable_by    files    folders
    owner          0600     0700
    group          0640     0750
    all            0644     0755

Whatever is made with other modes says so: exports have a setting of their own, keys and temporary folders of the system
are their owner's alone.
"""

from __future__ import annotations

import os
from typing import Final, Literal

MASKS: Final = {"owner": 0o077, "group": 0o027, "all": 0o022}


def set_readers(readable_by: Literal["owner", "group", "all"]) -> None:
    """Have this process make its files and folders for some readers, whatever mask it was started with."""
    os.umask(MASKS[readable_by])


def mask_of_process() -> int:
    """The mask that this process makes files with."""
    # The system tells it by replacing it; until it is back, what another thread makes is the owner's alone.
    mask = os.umask(MASKS["owner"])
    os.umask(mask)
    return mask


def take_mask(mask: int) -> None:
    """Have a worker make its files with the mask of the process that it works for."""
    os.umask(mask)
