"""Orders of the last 90 days for the demo."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from decimal import Decimal

from example_project.shop.models import Order

CUSTOMERS = ("Ada", "Barbara", "Donald", "Edsger", "Grace")
ORDERS = 400
DAYS = 90


def load(now: datetime) -> int:
    """Create the orders unless there are any. Return the count."""
    if Order.objects.exists():
        return 0
    dice = random.Random(DAYS)  # noqa: S311 -- sample data
    orders = [
        Order(
            customer=dice.choice(CUSTOMERS),
            total=Decimal(dice.randrange(500, 20_000)) / 100,
            status=dice.choice(Order.Status.values),
            created_at=now - timedelta(minutes=dice.randrange(DAYS * 24 * 60)),
        )
        for _ in range(ORDERS)
    ]
    return len(Order.objects.bulk_create(orders))
