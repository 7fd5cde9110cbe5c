"""What finance and partners' book-keepers ask and do: statements, runs, fees, files, breaks, payments, reports.

Every deed is somebody's own, once under its key, with a proof of a moment ago (`calls`). What is read by a partner's
client is the partner's own.
"""
