"""nvidia-smi's table as drivers print it: the rows that a test asks for, in the form of a
generation. Forms are those of public tables; see tests/hosts/SOURCES.md.
"""

from __future__ import annotations

from dataclasses import dataclass

EMPTY = """
+-----------------------------------------------------------------------------------------+
| Processes:                                                                              |
|  GPU   GI   CI              PID   Type   Process name                        GPU Memory |
|        ID   ID                                                               Usage      |
|=========================================================================================|
|  No running processes found                                                             |
+-----------------------------------------------------------------------------------------+
"""


@dataclass(frozen=True)
class Row:
    """A GPU's cells as they are printed."""

    name: str = "NVIDIA RTX PRO 6000 Blac..."
    memory: str = "97887MiB"
    used: str = "4MiB"
    mode: str = "On"
    ecc: str = "0"
    fan: str = "30%"
    temperature: str = "32C"
    pstate: str = "P8"
    power: str = "16W / 600W"
    busy: str = "0%"
    compute: str = "Default"
    mig: str = "N/A"


# A driver's heading, and whether its rows have a third line for MIG.
HEADINGS = {
    "418.87": ("Driver Version: 418.87.00    CUDA Version: 10.1", False),
    "450.80": ("Driver Version: 450.80.02    CUDA Version: 11.0", True),
    "535.104": ("Driver Version: 535.104.05   CUDA Version: 12.2", True),
    "570.86": ("Driver Version: 570.86.15      CUDA Version: 12.8", True),
    "580.95": ("Driver Version: 580.95.05      CUDA Version: 13.0", True),
    "595.58": ("Driver Version: 595.58.03      CUDA Version: 13.2", True),
    "610.57": ("KMD Version: 610.57.04     CUDA UMD Version: 13.3", True),
}


def table(driver: str, *rows: Row, processes: str = EMPTY) -> str:
    """A whole table."""
    heading, has_mig = HEADINGS[driver]
    version = heading.split(": ")[1].split()[0]
    line = "+-----------------------------------------+------------------------+--------------+\n"
    text = f"Wed Dec 24 12:49:44 2025\n{line}| NVIDIA-SMI {version}    {heading}     |\n{line}"
    for at, row in enumerate(rows):
        text += (
            f"|   {at}  {row.name:<27} {row.mode:>3}  |   00000000:{at + 1:02X}:00.0 Off |"
            f" {row.ecc:>20} |\n"
            f"| {row.fan:<4} {row.temperature:>5} {row.pstate:>5} {row.power:>20} |"
            f" {row.used:>9} / {row.memory:>9} | {row.busy:>7} {row.compute:>12} |\n"
        )
        text += f"|{'':41}|{'':24}| {row.mig:>20} |\n" if has_mig else ""
        text += line
    return text + processes
