"""A small shop for the scheduled tasks to work on."""

from __future__ import annotations

from django.db import models


class Order(models.Model):
    """An order, open until it is paid or abandoned."""

    class Status(models.TextChoices):
        """The status of an order."""

        OPEN = "open"
        PAID = "paid"
        ABANDONED = "abandoned"

    customer = models.CharField(max_length=100)
    total = models.DecimalField(max_digits=10, decimal_places=2)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.OPEN)
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        """Return the customer and the total."""
        return f"{self.customer}: {self.total}"


class SalesReport(models.Model):
    """The sales of one interval."""

    until = models.DateTimeField(unique=True)
    orders = models.PositiveIntegerField()
    revenue = models.DecimalField(max_digits=12, decimal_places=2)

    def __str__(self) -> str:
        """Return the end of the interval and the revenue."""
        return f"{self.until:%Y-%m-%d %H:%M:%S}: {self.revenue}"
