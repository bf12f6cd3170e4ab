"""Whether a training fits: asked of a worker, shown as a table of what could be run."""
