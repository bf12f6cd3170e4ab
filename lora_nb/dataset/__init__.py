"""Data as a user looks at it: opened, measured by a worker, kept in the cache, shown."""
