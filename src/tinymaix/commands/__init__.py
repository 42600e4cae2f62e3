"""The commands of `tinymaix`, one file each: `register` describes its command line, `run` does it and prints."""
