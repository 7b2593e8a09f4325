"""One thread per test process: two shared cores are slower with more, and results must not depend on the count."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import torch

torch.set_num_threads(1)
cv2.setNumThreads(1)
