"""REPORTS AS FILES: the same tables as CSV for machines, as a workbook, and as a PDF, in the programme's languages."""
