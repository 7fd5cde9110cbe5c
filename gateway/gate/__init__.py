"""The gate in front of execution: each distinct document is parsed, limited, validated, priced and planned once, and an
operation is let in by its client's allowance and by how much there is to do.

`prepared` is the way in; `admission` says who may pass.
"""
