"""A toy task that exists here only, as another package would bring one; docs/tasks.md shows it."""
