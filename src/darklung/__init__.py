"""darklung: dark-field X-ray imaging of lungs, from phantom or raw frames to a report.

The folders follow the data: ``phantom`` -> ``simulate`` -> ``retrieve`` -> ``correct`` -> (``tomo``) -> ``features`` ->
``learn`` -> ``evaluate`` -> ``report``. ``core`` holds the data types that travel between them, ``physics`` the formulas,
``study`` the ordered stages. Importing this package loads nothing heavy.
"""

__version__ = "0.1.0"
