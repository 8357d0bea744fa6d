"""Long work as detached processes: it outlives the page that started it and the server behind that page."""

from maskmatch_med.jobs.job import Command, Job, JobSpec, Status
from maskmatch_med.jobs.queue import JobQueue

__all__ = ["Command", "Job", "JobQueue", "JobSpec", "Status"]
