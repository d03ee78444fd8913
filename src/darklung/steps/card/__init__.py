"""Cards of models: what the files of a model and of its run tell."""
