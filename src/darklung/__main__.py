"""``python -m darklung``: the same as the command ``darklung``."""

from darklung.commands.cli import main

main()
