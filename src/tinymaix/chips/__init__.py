"""The chips that models run on: what they are, how to build for them, and how to run the result without owning them.

from tinymaix.chips import find_chip
from tinymaix.chips.build import build
from tinymaix.chips.emulate import open_machine
"""

from tinymaix.chips.chip import Chip, ChipError, chips, find_chip
from tinymaix.chips.tools import ToolError

__all__ = ["Chip", "ChipError", "ToolError", "chips", "find_chip"]
