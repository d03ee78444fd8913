"""The routes of ``darklung insert``: radiographs, volumes, projections and raw frames."""
