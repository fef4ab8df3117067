"""Tasks: Celery's view of the write path."""
