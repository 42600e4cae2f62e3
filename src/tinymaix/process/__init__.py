"""Processing that belongs to a model: camera or microphone in front of it, decoded outputs behind it.

Each function takes a Graph and gives a new one with more nodes, which run, plan and compile like any others.
"""

from __future__ import annotations

from tinymaix.process.audio import MLPERF_MFCC, MLPERF_WAKE_WORD, TINYMAIX_FBANK, AudioFrontEnd, with_audio
from tinymaix.process.detect import with_arg_max, with_fomo, with_ssd, with_top_k, with_yolo
from tinymaix.process.image import with_image
from tinymaix.process.join import network, overlapping, prepend, sliding

__all__ = [
    "MLPERF_MFCC",
    "MLPERF_WAKE_WORD",
    "TINYMAIX_FBANK",
    "AudioFrontEnd",
    "network",
    "overlapping",
    "prepend",
    "sliding",
    "with_arg_max",
    "with_audio",
    "with_fomo",
    "with_image",
    "with_ssd",
    "with_top_k",
    "with_yolo",
]
