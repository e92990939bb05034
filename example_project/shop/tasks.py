"""The shop's scheduled tasks."""

from __future__ import annotations

import random
from datetime import timedelta
from decimal import Decimal
from typing import Literal

from django.db import DatabaseError
from django.db.models import Sum

from example_project.shop.models import Order, SalesReport
from scheduled_tasks import Partial, Retry, Skip, TaskContext, scheduled_task


@scheduled_task("every 5 seconds", misfire_policy="skip", category="demo")
def take_orders(context: TaskContext, *, most: int = 3) -> dict[str, int]:
    """Create a few orders.

    A real shop has customers for this. Missed runs are skipped, since nothing depends on them.
    """
    dice = random.Random(context.execution_id)  # noqa: S311 -- a demo's customers
    orders = [
        Order(
            customer=dice.choice(["Ada", "Grace", "Edsger", "Barbara", "Donald"]),
            total=Decimal(dice.randrange(500, 20_000)) / 100,
            status=dice.choice([Order.Status.OPEN, Order.Status.PAID]),
            created_at=context.scheduled_for,
        )
        for _ in range(dice.randint(1, most))
    ]
    Order.objects.bulk_create(orders)
    context.record(processed=len(orders))
    context.logger.info("%s orders taken", len(orders))
    return {"orders": len(orders)}


@scheduled_task("every 15 seconds", timeout=10, retry=3, misfire_policy="all", category="reports")
def report_sales(context: TaskContext, *, seconds: int = 15) -> dict[str, str | int]:
    """Add up the paid orders since the previous report.

    Each interval has its own report, so missed runs are caught up.
    """
    until = context.scheduled_for
    paid = Order.objects.filter(
        status=Order.Status.PAID,
        created_at__gt=until - timedelta(seconds=seconds),
        created_at__lte=until,
    )
    revenue = paid.aggregate(sum=Sum("total"))["sum"] or Decimal(0)
    SalesReport.objects.update_or_create(
        until=until, defaults={"orders": paid.count(), "revenue": revenue}
    )
    return {"orders": paid.count(), "revenue": str(revenue)}


@scheduled_task(
    "every 20 seconds",
    retry=Retry(max_retries=3, delay=5, retry_on=(ConnectionError,)),
    misfire_policy="skip",
    category="payments",
)
def charge_cards(context: TaskContext) -> dict[str, int]:
    """Charge the cards of open orders, at a bank that does not answer every time.

    The first attempt fails, and a retry five seconds later succeeds: its page shows both attempts.
    """
    orders = Order.objects.filter(status=Order.Status.OPEN).order_by("-created_at")[:20]
    for done, order in enumerate(orders, start=1):
        if done == (len(orders) + 1) // 2 and context.attempt == 1:
            raise ConnectionError("The bank did not answer.")
        context.progress(done, len(orders), order.customer)
    context.record(processed=len(orders))
    return {"charged": len(orders)}


@scheduled_task("every 25 seconds", misfire_policy="skip", category="purchasing")
def import_prices() -> int:
    """Import the price list of a supplier, who has renamed a column.

    It fails for good, so each of its executions waits under Failures, as one cause.
    """
    rows = [{"article": "chair", "net_price": "49.90"}]
    return sum(round(float(row["price"])) for row in rows)


@scheduled_task("every 20 seconds", misfire_policy="skip", category="mail")
def send_receipts(context: TaskContext) -> Partial | dict[str, int]:
    """Send receipts for the orders that were paid since the last time.

    Without such orders it is skipped. Receipts to one customer come back, so the rest is a partial
    success.
    """
    since = context.scheduled_for - timedelta(seconds=20)
    orders = Order.objects.filter(status=Order.Status.PAID, created_at__gt=since)
    if not orders:
        raise Skip("no order was paid")
    returned = sum(order.customer == "Donald" for order in orders)
    context.record(processed=len(orders), errors=returned)
    result = {"sent": len(orders) - returned}
    return Partial(result, reason=f"{returned} receipts came back") if returned else result


@scheduled_task("* * * * *", category="cleanup")
def abandon_orders(context: TaskContext, *, after_minutes: int = 30) -> dict[str, int]:
    """Mark open orders as abandoned if they were not paid in time."""
    limit = context.scheduled_for - timedelta(minutes=after_minutes)
    stale = Order.objects.filter(status=Order.Status.OPEN, created_at__lt=limit)
    return {"abandoned": stale.update(status=Order.Status.ABANDONED)}


@scheduled_task(
    "30 2 * * *",
    timezone="Europe/Berlin",
    timeout=600,
    retry=Retry(max_retries=5, delay=60, retry_on=(DatabaseError,)),
    misfire_grace=timedelta(hours=6),
    jitter=timedelta(minutes=10),
    category="cleanup",
)
def cleanup(
    context: TaskContext,
    *,
    max_age_days: int = 30,
    dry_run: bool = True,
    status: Literal["abandoned", "paid"] = "abandoned",
) -> dict[str, int | bool]:
    """Delete old orders, or only count them unless dry_run is false."""
    limit = context.scheduled_for - timedelta(days=max_age_days)
    old = Order.objects.filter(status=status, created_at__lt=limit)
    found = old.count() if dry_run else old.delete()[0]
    return {"orders": found, "dry_run": dry_run}


@scheduled_task(timeout=60, memory_limit_mb=256, category="reports")
def export_orders(*, customer: str) -> list[dict[str, str]]:
    """Export the orders of one customer. Run it manually, with a name."""
    return [
        {"total": str(order.total), "status": order.status}
        for order in Order.objects.filter(customer=customer).order_by("-created_at")[:100]
    ]
