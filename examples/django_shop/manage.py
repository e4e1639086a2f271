"""Django with its worker beside it: the view stores an order and enqueues what is to be done about it.

    pip install django gunicorn
    python manage.py migrate --run-syncdb
    gunicorn --workers 2 shop.wsgi
    glassq worker shop.worker:app --http 127.0.0.1:9464
    curl -X POST 'localhost:8000/orders/ann?item=tea'

All in this folder. Web processes only enqueue. What all of them enqueued is counted by the store, and the
worker shows it as glassq_queue_enqueued_total.
"""

from __future__ import annotations

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
    execute_from_command_line(sys.argv)
