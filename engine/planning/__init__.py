"""What a run would do, before it does it: its tasks, their sizes, how long they take, and why they are needed."""
