"""Deposits: a finished run as a folder that others can cite, read, check and repeat."""
