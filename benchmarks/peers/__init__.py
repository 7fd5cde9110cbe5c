"""What others do with the same task, measured in the same run: a naive ledger of our own, and django-hordak."""
