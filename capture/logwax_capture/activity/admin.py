"""The page of activities in the admin: to look at, not to change."""

from __future__ import annotations

from typing import ClassVar

from django.contrib import admin
from django.http import HttpRequest

from logwax_capture.activity.models import ActivityLog


@admin.register(ActivityLog)
class ActivityLogAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """A list that can be searched, with filters by action, VPN and day."""

    list_display = ("created_at", "username", "action", "message", "ip", "email", "vpn")
    list_filter = ("action", "vpn", "created_at")
    search_fields = ("user", "email", "username", "ip", "message", "extras")
    date_hierarchy = "created_at"
    readonly_fields: ClassVar = [field.name for field in ActivityLog._meta.fields]
    show_full_result_count = False  # which would count the whole table

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds one by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """What was done stays as it was."""
        return False
