"""The shop in the admin."""

from __future__ import annotations

from django.contrib import admin

from example_project.shop.models import Order, SalesReport


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    """Orders, newest first."""

    list_display = ("customer", "total", "status", "created_at")
    list_filter = ("status",)
    ordering = ("-created_at",)


@admin.register(SalesReport)
class SalesReportAdmin(admin.ModelAdmin):
    """Reports, newest first."""

    list_display = ("until", "orders", "revenue")
    ordering = ("-until",)
