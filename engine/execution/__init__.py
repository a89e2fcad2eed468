"""Where tasks run: in this process or on Ray. The same tasks, the same bytes."""
