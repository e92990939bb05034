"""A very small shop: enough for its scheduled tasks to have something to do."""

from __future__ import annotations

from django.db import models


class Order(models.Model):
    """An order, open until it is paid or given up."""

    class Status(models.TextChoices):
        """Where an order stands."""

        OPEN = "open"
        PAID = "paid"
        ABANDONED = "abandoned"

    customer = models.CharField(max_length=100)
    total = models.DecimalField(max_digits=10, decimal_places=2)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.OPEN)
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        """Return the customer and the sum."""
        return f"{self.customer}: {self.total}"


class SalesReport(models.Model):
    """The sales of one stretch of time."""

    until = models.DateTimeField(unique=True)
    orders = models.PositiveIntegerField()
    revenue = models.DecimalField(max_digits=12, decimal_places=2)

    def __str__(self) -> str:
        """Return the end of the stretch and the revenue."""
        return f"{self.until:%Y-%m-%d %H:%M:%S}: {self.revenue}"
