"""What the shop keeps itself; its queue is elsewhere."""

from __future__ import annotations

from django.db import models


class Order(models.Model):
    """Somebody ordered something."""

    customer = models.CharField(max_length=100)
    item = models.CharField(max_length=100)
    packed = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"{self.item} for {self.customer}"
