"""The activity log: who did what, left to a thread and inserted in batches.

Also a Django app: `INSTALLED_APPS += ["logwax_capture.activity"]`.
"""

from logwax_capture.activity.service import ActivityThreadService
from logwax_capture.activity.table import create_table

__all__ = ["ActivityThreadService", "create_table"]
