"""The pages of the shop."""

from __future__ import annotations

from functools import partial

from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from .jobs import pack
from .models import Order


@csrf_exempt
def order(request: HttpRequest, customer: str) -> JsonResponse:
    """Enqueues once the order is committed. Within the transaction it would be too early: a worker may be
    quicker than the commit, and after a rollback the job would be there and the order would not."""
    try:
        with transaction.atomic():
            placed = Order.objects.create(customer=customer, item=request.GET.get("item", ""))
            transaction.on_commit(partial(pack, customer, placed.pk))
            placed.full_clean()  # what is wrong here takes the order back, and the call with it
    except ValidationError as error:
        return JsonResponse({"wrong": error.message_dict}, status=400)
    return JsonResponse({"order": placed.pk}, status=202)


urlpatterns = [path("orders/<str:customer>", order)]
