"""Networks, losses, patches, training and prediction. The only place that needs torch."""
