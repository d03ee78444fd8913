"""A trainer of nnU-Net v2 with as many steps as ours; nnU-Net finds it in the folder that `nnUNet_extTrainer` names."""

import os

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

STEPS_AN_EPOCH = 250  # nnU-Net's own
LEAST_EPOCHS = 10  # nnU-Net lowers its learning rate from epoch to epoch: in a single one it would stay as high as at first


class AsManySteps(nnUNetTrainer):
    """nnU-Net as it is (loss, augmentation, schedule), for DARKLUNG_STEPS steps in all."""

    def __init__(self, plans: dict, configuration: str, fold: int, dataset_json: dict, device: torch.device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        if "OMP_NUM_THREADS" in os.environ:  # nnU-Net takes every core, and waits for those that others use
            torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        steps = int(os.environ["DARKLUNG_STEPS"])
        self.num_iterations_per_epoch = min(max(1, steps // LEAST_EPOCHS), STEPS_AN_EPOCH)
        self.num_epochs = -(-steps // self.num_iterations_per_epoch)
        self.num_val_iterations_per_epoch = max(1, self.num_iterations_per_epoch // 5)  # nnU-Net's own share
        self.save_every = 1  # so that a training that is stopped goes on

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Left out: whole images are predicted once, of the held-out animals."""
