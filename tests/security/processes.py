from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
LISTENS = "0A"


@dataclass(frozen=True)
class Socket:
    """A socket of the Internet family; `listens` says of a datagram socket that it is bound and not connected.

    `peer` is the other end, host and port; of a socket that listens there is none.
    """

    protocol: str
    address: str
    port: int
    listens: bool
    peer: str = ""

    @property
    def is_loopback(self) -> bool:
        found = ipaddress.ip_address(self.address)
        return found.is_loopback or bool(getattr(found, "ipv4_mapped", None) and found.ipv4_mapped.is_loopback)


def family(pid: int) -> set[int]:
    """A process and all below it."""
    parents: dict[int, int] = {}
    for entry in PROC.iterdir():
        if entry.name.isdecimal():
            with suppress(OSError, ValueError, IndexError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found, size = {pid}, 0
    while len(found) > size:
        size = len(found)
        found |= {child for child, parent in parents.items() if parent in found}
    return found


def command_of(pid: int) -> str:
    with suppress(OSError):
        return (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def sockets_of(pids: set[int]) -> set[Socket]:
    inodes = set()
    for pid in pids:
        with suppress(OSError):
            for link in (PROC / str(pid) / "fd").iterdir():
                with suppress(OSError):
                    target = str(link.readlink())
                    if target.startswith("socket:["):
                        inodes.add(target[8:-1])
    return {socket for inode, socket in _internet() if inode in inodes}


def _internet() -> Iterator[tuple[str, Socket]]:
    for protocol in ("tcp", "tcp6", "udp", "udp6"):
        with suppress(OSError):
            for line in (PROC / "net" / protocol).read_text().splitlines()[1:]:
                fields = line.split()
                address, _, port = fields[1].partition(":")
                listens = fields[3] == LISTENS if protocol.startswith("tcp") else fields[2].endswith(":0000")
                other, _, at = fields[2].partition(":")
                peer = "" if listens else f"{_dotted(other)}:{int(at, 16)}"
                yield fields[9], Socket(protocol, _dotted(address), int(port, 16), listens, peer)


def _dotted(text: str) -> str:
    """The kernel writes each four bytes in the order of this machine, taken for that of Intel's."""
    packed = b"".join(bytes.fromhex(text[place : place + 8])[::-1] for place in range(0, len(text), 8))
    return str(ipaddress.ip_address(packed))
