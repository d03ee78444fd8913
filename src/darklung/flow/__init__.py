"""What a study comes to: the tasks that its sources, arms and evaluation need, checked before any of them runs."""
