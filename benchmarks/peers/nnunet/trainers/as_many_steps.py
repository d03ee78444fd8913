"""A trainer of nnU-Net v2 with as many steps as ours; nnU-Net finds it in the folder that `nnUNet_extTrainer` names."""

import os

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

STEPS_AN_EPOCH = 250  # nnU-Net's own


class AsManySteps(nnUNetTrainer):
    """nnU-Net as it is (loss, augmentation, schedule), for DARKLUNG_STEPS steps in all."""

    def __init__(self, plans: dict, configuration: str, fold: int, dataset_json: dict, device: torch.device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        steps = int(os.environ["DARKLUNG_STEPS"])
        self.num_iterations_per_epoch = min(steps, STEPS_AN_EPOCH)
        self.num_epochs = -(-steps // self.num_iterations_per_epoch)
        self.num_val_iterations_per_epoch = min(self.num_val_iterations_per_epoch, steps)
        self.save_every = 1  # so that a training that is stopped goes on

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Left out: whole images are predicted once, of the held-out animals."""
