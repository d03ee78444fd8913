"""What is computed: one file a step, in the order of the flow."""
