"""tinymaix: put a trained neural network on a microcontroller, and prove that it fits, is exact, and how fast it is."""

__version__ = "0.1.0"
