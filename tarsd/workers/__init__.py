"""Child processes for native code, so that it can crash, hang or outgrow its limits alone."""

from tarsd.workers.limits import WorkerLimits
from tarsd.workers.supervised import SupervisedWorker
from tarsd.workers.worker import Worker

__all__ = ["SupervisedWorker", "Worker", "WorkerLimits"]
