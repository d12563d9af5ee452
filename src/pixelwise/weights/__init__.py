"""Weights in and out: checkpoints, Caffe and torchvision files, surgery."""
