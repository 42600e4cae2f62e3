"""Graph + Plan + core -> a C99 project made for this one model. Light to import: `tinymaix` does, to keep its own
function of this name."""
