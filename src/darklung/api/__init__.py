"""The public functions: each takes and returns the types of `darklung` and does what the step of its name does in a study.

Nothing is computed here. What a function may be told beside its arguments is ``settings``: keys and values of one section of
a study file, written as there (docs/studies.md) and refused as there.
"""
